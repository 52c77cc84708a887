import { CarillonError, throwAny } from "../errors.ts";
import { assertZone, usualZoneName } from "../timetable/civil-time.ts";
import type { Database } from "./database.ts";
import { type Executor, inTransaction } from "./executor.ts";
import { farFromAnyPlace, nearestWithinKm } from "./place-times.ts";
import { findTimetables } from "./timetables.ts";

export interface Place {
  readonly placeId: number;
  /** the operator's own key */
  readonly key: string;
  readonly name: string;
  /** ISO 3166-1 alpha-2 */
  readonly country: string | null;
  /** degrees, north positive */
  readonly latitude: number;
  /** degrees, east positive */
  readonly longitude: number;
  /** IANA zone */
  readonly zone: string;
  readonly population: number;
  /** the timetable's name */
  readonly timetable: string;
}

export interface NewPlace extends Pick<Place, "key" | "name" | "latitude" | "longitude" | "zone"> {
  readonly country?: string | null | undefined;
  readonly population?: number | undefined;
  /** default "prayer" */
  readonly timetable?: string | undefined;
}

export type SavedPlace = Place & { readonly created: boolean };

/**
 * Saves places by their keys, so that an import can be repeated. Where what a place's times depend on has changed, the
 * database itself hands its schedules to the planner again in the same transaction, which moves what is planned already.
 *
 * @param pointerOf RFC 6901 pointer to the place with this index in the request
 * @throws unknown_zone, unknown_timetable, or invalid_request for a key that comes twice; all at once
 */
export function savePlaces(
  db: Database,
  places: readonly NewPlace[],
  pointerOf: (index: number) => string,
): Promise<SavedPlace[]> {
  return inTransaction(db, async (client) => {
    const names = [...new Set(places.map((place) => place.timetable ?? "prayer"))];
    const timetables = await findTimetables(client, names);
    throwAny(places.flatMap((place, index) => mistakesIn(place, timetables, pointerOf(index))));
    throwAny(repeatedKeys(places, pointerOf));

    const written = await upsert(client, places, timetables);
    const saved = await readPlaces(
      client,
      places.map((place) => place.key),
    );
    return saved.map((place) => ({ ...place, created: written.get(place.key)?.created ?? false }));
  });
}

/** @throws not_found */
export async function readPlace(db: Database, key: string): Promise<Place> {
  const [place] = await readPlaces(db.pool, [key]);
  if (place === undefined)
    throw new CarillonError("not_found", `There is no place with the key ${JSON.stringify(key)}.`);
  return place;
}

/** Places in the order of their numbers, beginning behind `after`; with a prefix, those whose keys begin with it. */
export async function listPlaces(
  db: Database,
  page: { readonly after: number; readonly limit: number; readonly prefix?: string },
): Promise<Place[]> {
  const { rows } = await db.pool.query<PlaceRow>(
    `${selectPlaces} where p.place_id > $1 and starts_with(p.key, $3) order by p.place_id limit $2`,
    [page.after, page.limit, page.prefix ?? ""],
  );
  return rows.map(placeOf);
}

/**
 * The place nearest to coordinates in degrees, by great-circle distance.
 *
 * @throws far_from_any_place when there is none within 100 km
 */
export async function nearestPlace(
  db: Database,
  latitude: number,
  longitude: number,
): Promise<Place & { readonly distanceKm: number }> {
  const { rows } = await db.pool.query<PlaceRow & { distance_km: number }>(
    selectPlaces.replace("select", "select n.distance_km,") +
      " join carillon.nearest_place($1, $2, $3) as n on n.place_id = p.place_id",
    [latitude, longitude, nearestWithinKm],
  );
  const [row] = rows;
  if (row === undefined) throw farFromAnyPlace();
  return { ...placeOf(row), distanceKm: row.distance_km };
}

function mistakesIn(place: NewPlace, timetables: Map<string, number>, pointer: string): CarillonError[] {
  const mistakes: CarillonError[] = [];
  try {
    assertZone(place.zone, `${pointer}/zone`);
  } catch (error) {
    if (!(error instanceof CarillonError)) throw error;
    mistakes.push(error);
  }
  const timetable = place.timetable ?? "prayer";
  if (!timetables.has(timetable)) {
    const detail = `There is no timetable named ${JSON.stringify(timetable)}.`;
    mistakes.push(new CarillonError("unknown_timetable", detail, { pointer: `${pointer}/timetable` }));
  }
  return mistakes;
}

function repeatedKeys(places: readonly NewPlace[], pointerOf: (index: number) => string): CarillonError[] {
  const seen = new Set<string>();
  return places.flatMap(({ key }, index) => {
    if (!seen.has(key)) {
      seen.add(key);
      return [];
    }
    const detail = `The key ${JSON.stringify(key)} comes twice in this request.`;
    return [new CarillonError("invalid_request", detail, { pointer: `${pointerOf(index)}/key` })];
  });
}

/**
 * Rows are taken in the order of their keys, so that imports of the same places at once wait for each other and don't
 * deadlock. A place that stays as it was is not written, and not returned.
 */
async function upsert(
  executor: Executor,
  places: readonly NewPlace[],
  timetables: Map<string, number>,
): Promise<Map<string, { placeId: number; created: boolean }>> {
  const { rows } = await executor.query<{ key: string; place_id: number; created: boolean }>(
    `insert into carillon.places as p (key, name, country, latitude, longitude, zone, population, timetable_id)
     select * from unnest(
       $1::text[], $2::text[], $3::text[], $4::float8[], $5::float8[], $6::text[], $7::bigint[], $8::int[])
       as n (key, name, country, latitude, longitude, zone, population, timetable_id)
     order by n.key
     on conflict (key) do update set
       name = excluded.name, country = excluded.country, latitude = excluded.latitude,
       longitude = excluded.longitude, zone = excluded.zone, population = excluded.population,
       timetable_id = excluded.timetable_id
     where (p.name, p.country, p.latitude, p.longitude, p.zone, p.population, p.timetable_id) is distinct from
       (excluded.name, excluded.country, excluded.latitude, excluded.longitude, excluded.zone, excluded.population,
        excluded.timetable_id)
     returning p.key, p.place_id, p.xmax = 0 as created`,
    [
      places.map((place) => place.key),
      places.map((place) => place.name),
      places.map((place) => place.country ?? null),
      places.map((place) => place.latitude),
      places.map((place) => place.longitude),
      places.map((place) => usualZoneName(place.zone)),
      places.map((place) => place.population ?? 0),
      places.map((place) => timetables.get(place.timetable ?? "prayer") ?? null),
    ],
  );
  return new Map(rows.map((row) => [row.key, { placeId: row.place_id, created: row.created }]));
}

const selectPlaces = `select p.place_id, p.key, p.name, p.country, p.latitude, p.longitude, p.zone, p.population,
    t.name as timetable
  from carillon.places p join carillon.timetables t using (timetable_id)`;

interface PlaceRow extends Omit<Place, "placeId" | "population"> {
  readonly place_id: number;
  /** bigint */
  readonly population: string;
}

/** In the order of `keys`. */
async function readPlaces(executor: Executor, keys: readonly string[]): Promise<Place[]> {
  const { rows } = await executor.query<PlaceRow>(
    `${selectPlaces} where p.key = any($1::text[]) order by array_position($1::text[], p.key)`,
    [keys],
  );
  return rows.map(placeOf);
}

function placeOf(row: PlaceRow): Place {
  const { key, name, country, latitude, longitude, zone, timetable } = row;
  const population = Number(row.population);
  return { placeId: row.place_id, key, name, country, latitude, longitude, zone, population, timetable };
}
