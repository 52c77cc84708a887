import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

const sourceRoot = new URL("../../src/", import.meta.url);

/**
 * Ways to make an instant out of a wall time. Luxon's resolve a repeated time by today's date; JavaScript's by the
 * process' zone; the library for recurrences leaves out what clocks leave out. Only civil-time.ts decides, by the
 * schedule's own policy.
 */
const resolving: readonly [string, RegExp][] = [
  [
    "luxon's DateTime from parts or text",
    /\bDateTime\s*\.\s*(fromObject|local|fromISO|fromFormat|fromSQL|fromRFC2822|fromHTTP)\b/,
  ],
  ["keepLocalTime", /\bkeepLocalTime\b/],
  ["getPossibleOffsets", /\bgetPossibleOffsets\b/],
  ["a zone's offset", /\bIANAZone\b/],
  ["a Date from local parts", /\bnew Date\(\s*[^(),]+,/],
  ["local setters of a Date", /\.set(FullYear|Month|Date|Hours|Minutes)\(/],
  ["Temporal's resolver", /\b(toZonedDateTime|disambiguation|ZonedDateTime\s*\.\s*from|PlainDateTime|withTimeZone)\b/],
  ["a recurrence in a zone of its own", /\bTZID=(?!UTC:)|\btzid\s*:/],
  ["a recurrence without a zone, which is the process'", /\bDTSTART:\S|\bdtstart\s*:/],
  ["a Date from local text", /\b(new Date|Date\.parse)\(\s*[`"'](?![^`"']*Z[`"'])/],
  ["the text of a Date without its zone", /\bnew Date\(\s*[^()]*\.(slice|replace)\(/],
];
/** adhan reads the local parts of a Date and never its instant, so prayer.ts has to make one. */
const allowed = new Set([
  "timetable/civil-time.ts",
  "timetable/prayer.ts: a Date from local parts",
  // it shows instants to readers in their zones, and resolves no wall time
  "reminder/template-filters.ts: luxon's DateTime from parts or text",
  "reminder/template-filters.ts: a zone's offset",
]);
/** Who may know a library that has zones in it. */
const libraries: readonly [RegExp, readonly string[]][] = [
  [/from "rrule-temporal"/, ["timetable/recurrence.ts"]],
  [/from "(temporal-polyfill|@js-temporal)|\bTemporal\s*\./, []],
];

/** What a pure file may not read. */
const impure: readonly [string, RegExp][] = [
  ["the clock", /\bDate\.now\(|\bnew Date\(\s*\)|\bDateTime\s*\.\s*(now|utc)\(|\bperformance\b/],
  ["chance", /\bMath\.random\b|\brandomUUID\b/],
  ["the environment", /\bprocess\.(env|argv|cwd)\b/],
];

function found(text: string, patterns: readonly [string, RegExp][]): string[] {
  return patterns.filter(([, pattern]) => pattern.test(text)).map(([name]) => name);
}

const files = readdirSync(sourceRoot, { recursive: true, encoding: "utf8" }).filter((file) => /\.tsx?$/.test(file));
const read = (file: string) => readFileSync(new URL(file, sourceRoot), "utf8");

describe("wall time", () => {
  it("is resolved in civil-time.ts and nowhere else", () => {
    expect(files).toContain("timetable/civil-time.ts");
    const offences = files
      .filter((file) => !allowed.has(file))
      .flatMap((file) => found(read(file), resolving).map((name) => `${file}: ${name}`))
      .filter((offence) => !allowed.has(offence));
    expect(offences).toEqual([]);
  });

  it("is not in reach of a library that has zones of its own, but for where it is expanded as floating time", () => {
    for (const [library, users] of libraries) {
      expect(files.filter((file) => library.test(read(file)))).toEqual(users);
    }
    expect(read("timetable/recurrence.ts")).toContain("DTSTART;TZID=UTC:");
  });

  it("is not resolved in SQL by a zone other than UTC", () => {
    const sql = new URL("../../db/", import.meta.url);
    const linesOf = (file: string) =>
      readFileSync(new URL(file, sql), "utf8")
        .split("\n")
        .map((line) => line.trim())
        .filter((line) => /at\s+time\s+zone\s+(?!'utc')/i.test(line));
    // when quiet hours end the intent must know by itself; test/store/quiet-hours.test.ts holds it to the one resolver
    const quietHours = new Set(linesOf("migrations/0020_gate.sql"));
    const offences = readdirSync(sql, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".sql"))
      .flatMap((file) => linesOf(file).flatMap((line) => (quietHours.has(line) ? [] : `${file}: ${line}`)));
    expect(offences).toEqual([]);
  });

  it.each([
    "DateTime.fromObject({ hour: 2 }, { zone })",
    "DateTime\n  .fromISO(text, { zone })",
    "moment.setZone(zone, { keepLocalTime: true })",
    "new Date(year, month, day)",
    "date.setHours(2)",
    "IANAZone.create(zone).offset(ms)",
    `DTSTART;TZID=\${zone}:20261025T023000`,
    "DTSTART:20261025T023000",
    'new RRuleTemporal({ freq: "DAILY", tzid: zone })',
    "new RRuleTemporal({ rruleString, dtstart: start })",
    "Temporal.PlainDateTime.from(text)",
    "Temporal.ZonedDateTime.from(text)",
    "moment.withTimeZone(zone)",
    'new Date("2026-10-25T02:30:00")',
    `new Date(\`\${date}T\${time}\`)`,
    `Date.parse(\`\${local}\`)`,
    "new Date(text.slice(0, 19))",
  ])("would be found in %j", (text) => {
    expect(found(text, resolving)).not.toEqual([]);
  });

  it.each([
    "DateTime.fromMillis(dueAtMs, { zone })",
    "new Date(dueAtMs)",
    "new Date(Math.max(a, b))",
    `Date.parse(\`\${local}Z\`)`,
    'new Date("2026-10-25T02:30:00Z")',
    "new Date(Date.parse(text))",
    `DTSTART;TZID=UTC:\${start}`,
    "date.setUTCHours(2)",
  ])("is not what %j resolves", (text) => {
    expect(found(text, resolving)).toEqual([]);
  });
});

describe("the timetable floor", () => {
  it("reads no clock, no chance and no environment", () => {
    const floor = files.filter((file) => file.startsWith("timetable/"));
    expect(floor.length).toBeGreaterThan(5);
    expect(floor.flatMap((file) => found(read(file), impure).map((name) => `${file}: ${name}`))).toEqual([]);
  });

  it("imports nothing from above", () => {
    const imports = files
      .filter((file) => file.startsWith("timetable/"))
      .flatMap((file) => [...read(file).matchAll(/from "([^"]+)"/g)].map(([, specifier]) => specifier ?? ""));
    const permitted =
      /^(\.\/[a-z-]+\.ts|\.\.\/errors\.ts|\.\.\/reminder\/rule\.ts|luxon|adhan|suncalc|rrule-temporal|csv-parse\/sync|@photostructure\/tz-lookup)$/;
    expect(imports.filter((specifier) => !permitted.test(specifier))).toEqual([]);
  });
});
