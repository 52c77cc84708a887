import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

const source = (file: string) => JSON.stringify(new URL(`../../src/timetable/${file}.ts`, import.meta.url).href);

/** Prints what each part of the floor makes of a few awkward inputs. */
const program = `
  const { resolveWallTime, localDate } = await import(${source("civil-time")});
  const { occurrencesBetween } = await import(${source("occurrences")});
  const { parsePrayerTimetable, prayerTimes } = await import(${source("prayer")});
  const { parseRule } = await import(${source("rule-check")});
  const policy = { gap: "shift", overlap: "both" };
  const at = (year, month, day, hour, minute) => ({ year, month, day, hour, minute, second: 0 });
  const makkah = { placeId: 1, latitude: 21.4, longitude: 39.8, zone: "Asia/Riyadh", timetable: parsePrayerTimetable({}) };
  const placed = { ...makkah, versions: [{ version: 1, effectiveFrom: null, timetable: makkah.timetable }] };
  const from = Date.UTC(2026, 9, 20);
  console.log(JSON.stringify([
    resolveWallTime(at(2026, 10, 25, 2, 30), "Europe/Berlin", policy),
    resolveWallTime(at(2026, 3, 29, 2, 30), "Europe/Berlin", policy),
    resolveWallTime(at(2011, 12, 30, 12, 0), "Pacific/Apia", policy),
    localDate(from, "Pacific/Kiritimati"),
    occurrencesBetween(parseRule({ kind: "wall", time: "00:30", zone: "America/Santiago" }), null, from, from + 9e8),
    occurrencesBetween({ kind: "timetable", placeId: 1, slot: "isha", offsetsMinutes: [-5] }, placed, from, from + 9e8),
    parseRule({ kind: "instant", at: "2026-10-25T02:30:00+02:00" }),
    ...[1, 3, 9, 12].map((month) => prayerTimes(makkah, { year: 2026, month, day: 6 })),
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
    expect(first).toHaveLength(12);
    for (const other of others) expect(other).toEqual(first);
  });
});
