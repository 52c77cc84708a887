import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

const source = (file: string) => JSON.stringify(new URL(`../../src/timetable/${file}.ts`, import.meta.url).href);

/** Prints what each part of the floor makes of a few awkward inputs. */
const program = `
  const { resolveWallTime, localDate } = await import(${source("civil-time")});
  const { occurrencesBetween } = await import(${source("occurrences")});
  const { parsePrayerTimetable, prayerTimes } = await import(${source("prayer")});
  const { parseTimetable, slotsOf, slotTime } = await import(${source("timetable")});
  const { parseTableCsv } = await import(${source("table-csv")});
  const { parseRule } = await import(${source("rule-check")});
  const policy = { gap: "shift", overlap: "both" };
  const at = (year, month, day, hour, minute) => ({ year, month, day, hour, minute, second: 0 });
  const makkah = { placeId: 1, latitude: 21.4, longitude: 39.8, zone: "Asia/Riyadh", timetable: parsePrayerTimetable({}) };
  const since = (timetable) => [{ version: 1, effectiveFrom: null, timetable }];
  const nights = [{ opens: "20:00", closes: "26:30" }];
  const kinds = [
    parseTimetable("sun", {}),
    parseTimetable("prayer", { method: "byCountry" }),
    parseTimetable("weekly", { days: { 6: nights, 7: nights }, exceptions: { "2026-10-25": [] } }),
    parseTableCsv("date,a,b\\n10-24,02:30,25:00\\n10-25,02:30,"),
  ];
  const everywhere = [
    makkah,
    { ...makkah, country: "DE", latitude: 52.5, longitude: 13.4, zone: "Europe/Berlin" },
    { ...makkah, country: "KI", latitude: 1.87, longitude: -157.43, zone: "Pacific/Kiritimati" },
    { ...makkah, country: "NO", latitude: 69.65, longitude: 18.96, zone: "Europe/Oslo" },
  ];
  const dates = [[2026, 3, 28], [2026, 3, 29], [2026, 6, 21], [2026, 10, 24], [2026, 10, 25], [2026, 12, 31]];
  const from = Date.UTC(2026, 9, 20);
  console.log(JSON.stringify([
    resolveWallTime(at(2026, 10, 25, 2, 30), "Europe/Berlin", policy),
    resolveWallTime(at(2026, 3, 29, 2, 30), "Europe/Berlin", policy),
    resolveWallTime(at(2011, 12, 30, 12, 0), "Pacific/Apia", policy),
    localDate(from, "Pacific/Kiritimati"),
    occurrencesBetween(parseRule({ kind: "wall", time: "00:30", zone: "America/Santiago" }), null, from, from + 9e8),
    occurrencesBetween({ kind: "timetable", placeId: 1, slot: "isha", offsetMinutes: -5 }, { ...makkah, versions: since(makkah.timetable) }, from, from + 9e8),
    parseRule({ kind: "instant", at: "2026-10-25T02:30:00+02:00" }),
    ...[1, 3, 9, 12].map((month) => prayerTimes(makkah, { year: 2026, month, day: 6 })),
    kinds.flatMap((timetable) => everywhere.flatMap((place) => dates.flatMap(([year, month, day]) =>
      slotsOf(timetable).map((slot) => slotTime({ ...place, versions: since(timetable) }, slot, { year, month, day }))))),
    prayerTimes({ ...makkah, latitude: 1.87, longitude: -157.43, zone: "Pacific/Kiritimati" }, { year: 2026, month: 9, day: 6 }),
  ]));
`;

async function answerIn(zone: string, locale: string): Promise<unknown> {
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", program], {
    env: { ...process.env, TZ: zone, LC_ALL: locale, LANG: locale },
  });
  return JSON.parse(stdout);
}

describe("the process' zone and locale", () => {
  it("change nothing", { timeout: 60_000 }, async () => {
    const [first, ...others] = await Promise.all([
      answerIn("UTC", "C"),
      answerIn("America/Santiago", "fa_IR.UTF-8"),
      answerIn("Pacific/Kiritimati", "ar_EG.UTF-8"),
      answerIn("Pacific/Apia", "th_TH.UTF-8"),
      answerIn("America/St_Johns", "de_DE.UTF-8"),
      answerIn("Asia/Riyadh", "en_US.UTF-8"),
    ]);
    expect(first).toHaveLength(13);
    const slots = Array.isArray(first) ? first.findLast(Array.isArray) : [];
    expect(slots).toHaveLength(4 * 6 * (14 + 6 + 2 + 2));
    for (const other of others) expect(other).toEqual(first);
  });
});
