import { CarillonError } from "../errors.ts";
import type { Executor } from "./executor.ts";
import { storePlaces, type ZonedPlace } from "./places.ts";
import { lastOfEach, type Merged, type Numbered, stage } from "./staging.ts";
import { findTimetables } from "./timetables.ts";

/**
 * Saves places by their keys, as `savePlaces` does; those whose timetable there is not are refused.
 *
 * @param rows with zones that the caller has checked and written in their usual case
 */
export async function mergePlaces(client: Executor, rows: readonly Numbered<ZonedPlace>[]): Promise<Merged> {
  const timetables = await findTimetables(client, [...new Set(rows.map(({ row }) => timetableOf(row)))]);
  const known = rows.filter(({ row }) => timetables.has(timetableOf(row)));
  const refused = rows
    .filter(({ row }) => !timetables.has(timetableOf(row)))
    .map(({ line, row }) => ({ line, error: unknownTimetable(timetableOf(row)) }));
  const { last, repeated } = lastOfEach(known, (place) => place.key);
  await stage(
    client,
    "import_places",
    {
      key: "text",
      name: "text",
      country: "text",
      latitude: "double precision",
      longitude: "double precision",
      zone: "text",
      zone_source: "text",
      population: "bigint",
      timetable_id: "integer",
    },
    last.map(({ row }) => [
      row.key,
      row.name,
      row.country ?? null,
      row.latitude,
      row.longitude,
      row.zone,
      row.zoneSource,
      row.population ?? 0,
      timetables.get(timetableOf(row)) ?? null,
    ]),
  );
  const written = await storePlaces(client, "pg_temp.import_places");
  const inserted = [...written.values()].filter((place) => place.created).length;
  const changed = written.size - inserted;
  return { inserted, changed, unchanged: last.length - written.size + repeated, refused };
}

function timetableOf(place: ZonedPlace): string {
  return place.timetable ?? "prayer";
}

function unknownTimetable(name: string): CarillonError {
  const detail = `There is no timetable named ${JSON.stringify(name)}.`;
  return new CarillonError("unknown_timetable", detail, { pointer: "/timetable" });
}
