import { CarillonError } from "../errors.ts";
import type { PlaceTimes } from "../timetable/timetable.ts";
import type { Executor } from "./executor.ts";
import { readVersions, type StoredVersion, versionsOf } from "./timetable-versions.ts";

/** Coordinates farther than this from every known place are refused: the times there would be another place's. */
export const nearestWithinKm = 100;

/** How a request says where. */
export type PlaceQuery =
  | { readonly key: string }
  | { readonly placeId: number }
  | { readonly latitude: number; readonly longitude: number };

/** A place with what its times depend on. */
export interface FoundPlace extends PlaceTimes {
  readonly key: string;
  readonly name: string;
}

/** Looks up many places in one statement, and their timetables in another; the result has the queries' order, with null where there is none. */
export async function findPlaces(executor: Executor, queries: readonly PlaceQuery[]): Promise<(FoundPlace | null)[]> {
  if (queries.length === 0) return [];
  const { rows } = await executor.query<PlaceTimesRow & { index: number }>(
    `select q.index::int, ${placeTimesColumns}
     from unnest($1::text[], $2::int[], $3::float8[], $4::float8[]) with ordinality
       as q (key, place_id, latitude, longitude, index)
     left join lateral (
       select place_id from carillon.nearest_place(q.latitude, q.longitude, $5) where q.latitude is not null
     ) as n on true
     join carillon.places p
       on p.place_id = coalesce(q.place_id, n.place_id, (select k.place_id from carillon.places k where k.key = q.key))`,
    [
      queries.map((query) => ("key" in query ? query.key : null)),
      queries.map((query) => ("placeId" in query ? query.placeId : null)),
      queries.map((query) => ("latitude" in query ? query.latitude : null)),
      queries.map((query) => ("latitude" in query ? query.longitude : null)),
      nearestWithinKm,
    ],
  );
  const places = await foundPlaces(executor, rows);
  const found = new Map(rows.map((row, at) => [row.index, places[at] ?? null]));
  return queries.map((_, index) => found.get(index + 1) ?? null);
}

/** What became of a place query that found nothing, as an error. */
export function placeNotFound(query: PlaceQuery, pointer: string): CarillonError {
  if ("latitude" in query) return farFromAnyPlace(`${pointer}/coordinates`);
  if ("placeId" in query) {
    return new CarillonError("unknown_place", `There is no place ${query.placeId}.`, { pointer: `${pointer}/placeId` });
  }
  const detail = `There is no place with the key ${JSON.stringify(query.key)}.`;
  return new CarillonError("unknown_place", detail, { pointer: `${pointer}/place` });
}

/** The columns that a `PlaceTimesRow` needs of `carillon.places p`. */
export const placeTimesColumns = `p.place_id, p.key as place_key, p.name as place_name, p.latitude, p.longitude,
  p.zone as place_zone, p.country as place_country, p.timetable_id as place_timetable_id`;

export interface PlaceTimesRow {
  readonly place_id: number;
  readonly place_key: string;
  readonly place_name: string;
  readonly latitude: number;
  readonly longitude: number;
  readonly place_zone: string;
  readonly place_country: string | null;
  readonly place_timetable_id: number;
}

/**
 * The places of these rows, in order, each timetable read once.
 *
 * @throws internal when a timetable is stored that this program can't read
 */
export async function foundPlaces(executor: Executor, rows: readonly PlaceTimesRow[]): Promise<FoundPlace[]> {
  const versions = await readVersions(
    executor,
    rows.map((row) => row.place_timetable_id),
  );
  return rows.map((row) => foundPlaceOf(row, versionsOf(versions, row.place_timetable_id)));
}

/** The same for a row whose place may be missing: a rule that has none. */
export async function foundPlaceOrNone(
  executor: Executor,
  row: PlaceTimesRow | { readonly place_id: null },
): Promise<FoundPlace | null> {
  if (row.place_id === null) return null;
  const [place = null] = await foundPlaces(executor, [row]);
  return place;
}

function foundPlaceOf(row: PlaceTimesRow, versions: readonly StoredVersion[]): FoundPlace {
  return {
    placeId: row.place_id,
    key: row.place_key,
    name: row.place_name,
    latitude: row.latitude,
    longitude: row.longitude,
    zone: row.place_zone,
    country: row.place_country,
    versions,
  };
}

/** @param pointer RFC 6901 pointer to the coordinates, where they came in a body */
export function farFromAnyPlace(pointer?: string): CarillonError {
  const detail = `No known place is within ${nearestWithinKm} km of these coordinates.`;
  return new CarillonError("far_from_any_place", detail, pointer === undefined ? {} : { pointer });
}
