import { Command } from "commander";
import { CarillonError } from "../errors.ts";
import type { Database } from "../store/database.ts";
import { readClock } from "../store/nodes.ts";
import { type FoundPlace, findPlaces } from "../store/place-times.ts";
import { listPlaces, type Place, readPlace } from "../store/places.ts";
import { addDays, formatDate, formatTime, localDate, wallTimeAt } from "../timetable/civil-time.ts";
import { noTimeReasons } from "../timetable/slot-time.ts";
import { slotsOf, slotTime } from "../timetable/timetable.ts";
import { versionOn } from "../timetable/versions.ts";
import { type Output, tableOf } from "./table.ts";
import { withDatabase } from "./with-database.ts";

/** A screen of them; whoever wants all asks the API or the view `place_timetables`. */
const listMax = 200;

/** `carillon places`: where there are times, and what they are. */
export function placesCommand(): Command {
  return new Command("places")
    .description("list places; one: its timetable, zone, and the times of today and tomorrow")
    .argument("[key]", "a place's key, or the beginning of several")
    .option("--json", "one JSON object")
    .addHelpText("after", "\nExample:\n  $ carillon places de-\n  $ carillon places de-berlin")
    .action(async (key: string | undefined, { json }: { readonly json?: true }) => {
      await withDatabase((db) => showPlaces(db, key ?? "", process.stdout, json === true));
    });
}

/**
 * Writes one place with its times, or those whose keys begin so.
 *
 * @throws CarillonError not_found where there is none
 */
export async function showPlaces(db: Database, key: string, out: Output, json: boolean): Promise<void> {
  const [place] = key === "" ? [] : await findPlaces(db.pool, [{ key }]);
  if (place !== null && place !== undefined) {
    await showPlace(db, place, out, json);
    return;
  }
  const found = await listPlaces(db, { after: 0, limit: listMax + 1, prefix: key });
  if (found.length === 0) {
    const detail = key === "" ? "There are no places." : `No place's key is or begins with ${JSON.stringify(key)}.`;
    throw new CarillonError("not_found", detail);
  }
  const places = found.slice(0, listMax);
  const more = found.length > listMax;
  out.write(json ? `${JSON.stringify({ places, more })}\n` : listOf(places, more));
}

function listOf(places: readonly Place[], more: boolean): string {
  const rows = places.map((each) => [each.key, each.name, each.country, each.zone, each.timetable, each.placeId]);
  const table = tableOf(["key", "name", "country", "zone", "timetable", "place"], rows);
  return more ? `${table}These are the first ${listMax}; say how the keys begin to see others.\n` : table;
}

async function showPlace(db: Database, place: FoundPlace, out: Output, json: boolean): Promise<void> {
  const { timetable } = await readPlace(db, place.key);
  const today = localDate(await readClock(db.pool), place.zone);
  const days = [today, addDays(today, 1)].map((date) => dayOf(place, date));
  const { placeId, key, name, zone, country = null, latitude, longitude } = place;
  if (json) {
    out.write(`${JSON.stringify({ placeId, key, name, country, latitude, longitude, zone, timetable, days })}\n`);
    return;
  }
  const slots = [...new Set(days.flatMap(({ times }) => times.map(({ slot }) => slot)))];
  const rows = slots.map((slot) => [slot, ...days.map(({ times }) => shown(times.find((each) => each.slot === slot)))]);
  const titles = days.map(({ date, version }) => `${date} (version ${version ?? "none"})`);
  out.write(`${name} (${key}), place ${placeId}, ${latitude} ${longitude}\nzone ${zone}, timetable ${timetable}\n`);
  out.write(tableOf(["slot", ...titles], rows));
}

interface SlotOfDay {
  readonly slot: string;
  readonly at: Date | null;
  /** on the place's own clocks */
  readonly local: string | null;
  readonly none: string | null;
}

function dayOf(place: FoundPlace, date: ReturnType<typeof addDays>) {
  const version = versionOn(place.versions, date);
  const slots = version === null ? [] : slotsOf(version.timetable);
  const times = slots.map((slot): SlotOfDay => {
    const time = slotTime(place, slot, date);
    if ("none" in time) return { slot, at: null, local: null, none: noTimeReasons[time.none] };
    return { slot, at: new Date(time.at), local: localText(time.at, place.zone, formatDate(date)), none: null };
  });
  return { date: formatDate(date), version: version?.version ?? null, times };
}

/** The date, too, where it is another than the slot's own. */
function localText(atMs: number, zone: string, date: string): string {
  const wall = wallTimeAt(atMs, zone);
  const time = formatTime(wall);
  return formatDate(wall) === date ? time : `${formatDate(wall)} ${time}`;
}

function shown(time: SlotOfDay | undefined): string {
  if (time === undefined) return "";
  return time.local ?? `none: ${time.none}`;
}
