import cityTimezones from "city-timezones";
import { isKnownZone } from "../timetable/civil-time.ts";

export interface PlaceOfTheWorld {
  readonly key: string;
  readonly name: string;
  /** ISO 3166-1 alpha-2 */
  readonly country: string | null;
  readonly latitude: number;
  readonly longitude: number;
  readonly zone: string;
  readonly population: number;
}

/**
 * The cities of city-timezones (7.3 thousand, with zone and population; MIT), as places: for the demo and for `dev`.
 * Rows without a zone or a position are left out. Keys are "de-berlin", with the province where a country has a name
 * twice and a number where even a province has.
 */
export function placesOfTheWorld(): PlaceOfTheWorld[] {
  const taken = new Set<string>();
  // asking whether a zone is known takes a tenth of a millisecond, and there are twenty times as many cities as zones
  const zones = new Set(cityTimezones.cityMapping.map(({ timezone }) => timezone));
  const knownZones = new Set([...zones].filter((zone) => zone && isKnownZone(zone)));
  return cityTimezones.cityMapping.flatMap((city) => {
    const { lat: latitude, lng: longitude, timezone: zone, pop: population } = city;
    if (!Number.isFinite(latitude) || !Number.isFinite(longitude) || !knownZones.has(zone)) return [];
    const country = /^[A-Z]{2}$/.test(city.iso2) ? city.iso2 : null;
    const plain = slug(country ?? "xx", city.city_ascii || city.city);
    const candidates = candidateKeys(plain, city.province);
    const key = firstFree(candidates, taken);
    taken.add(key);
    return [
      {
        key,
        name: city.city,
        country,
        latitude,
        longitude,
        zone,
        population: Math.max(0, Math.round(population || 0)),
      },
    ];
  });
}

function slug(...parts: readonly (string | undefined)[]): string {
  return parts
    .filter((part) => part !== undefined && part !== "")
    .join("-")
    .normalize("NFKD")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
}

function* candidateKeys(plain: string, province: string): Generator<string> {
  yield plain;
  yield slug(plain, province);
  for (let number = 2; ; number += 1) yield `${plain}-${number}`;
}

function firstFree(candidates: Iterable<string>, taken: ReadonlySet<string>): string {
  for (const candidate of candidates) if (!taken.has(candidate)) return candidate;
  throw new Error("no key is free");
}
