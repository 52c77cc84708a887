import tzLookup from "@photostructure/tz-lookup";
import { CarillonError } from "../errors.ts";
import { isKnownZone, usualZoneName } from "./civil-time.ts";

/** Asking the runtime for a zone costs as much as the look-up, and there are some four hundred of them. */
const usualNames = new Map<string, string>();

/** Where a place's zone comes from. */
export type ZoneSource = "given" | "suggested";

/**
 * The IANA zone at coordinates in degrees, looked up in a coarse map: a suggestion, for whoever can say better. Of the
 * cities of city-timezones it gives 1.8 % a zone with another time of day, most of them near a border. At sea it is a
 * nautical zone ("Etc/GMT+3").
 *
 * @param pointer RFC 6901 pointer to the zone that was not given
 * @throws CarillonError unknown_zone where the map names a zone that this runtime's zone data lacks
 */
export function suggestZone(latitude: number, longitude: number, pointer: string): string {
  const zone = tzLookup(latitude, longitude);
  const known = usualNames.get(zone);
  if (known !== undefined) return known;
  if (isKnownZone(zone)) {
    const usual = usualZoneName(zone);
    usualNames.set(zone, usual);
    return usual;
  }
  const detail = `These coordinates lie in ${JSON.stringify(zone)}, which this runtime's zone data lacks: give the zone`;
  throw new CarillonError("unknown_zone", detail, { pointer });
}
