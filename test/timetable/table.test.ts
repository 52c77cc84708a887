import { describe, expect, it } from "vitest";
import { CarillonError, ManyErrors } from "../../src/errors.ts";
import type { CivilDate } from "../../src/timetable/civil-time.ts";
import { parseDate } from "../../src/timetable/civil-time.ts";
import type { TableTimetable } from "../../src/timetable/table.ts";
import { parseTableTimetable, tableTime } from "../../src/timetable/table.ts";
import { parseTableCsv } from "../../src/timetable/table-csv.ts";

function dateOf(text: string): CivilDate {
  const date = parseDate(text);
  if (date === null) throw new Error(text);
  return date;
}

function said(table: TableTimetable, slot: string, date: string, zone = "Europe/Berlin"): string {
  const time = tableTime(table, zone, slot, dateOf(date));
  return "at" in time ? new Date(time.at).toISOString().slice(0, 16) : time.none;
}

/** What is wrong, each as "code pointer: detail". */
function faultsOf(parse: () => unknown): string[] {
  try {
    parse();
  } catch (error) {
    if (!(error instanceof CarillonError)) throw error;
    const each = error instanceof ManyErrors ? error.errors : [error];
    return each.map(({ code, pointer, message }) => [code, pointer, message].filter(Boolean).join(" "));
  }
  return [];
}

const csv = [
  "date,fajr,isha",
  "2026-03-27,04:31,19:50",
  "2026-03-28,04:28,25:10",
  "2026-03-29,02:30,",
  "2026-03-30,05:24,21:03",
].join("\n");
const march = parseTableCsv(csv);

describe("a table by date", () => {
  it.each<[string, string, string]>([
    ["fajr", "2026-03-27", "2026-03-27T03:31"],
    ["isha", "2026-03-28", "2026-03-29T00:10"],
    ["fajr", "2026-03-29", "2026-03-29T01:30"],
    ["isha", "2026-03-29", "not_in_table"],
    ["fajr", "2026-03-26", "outside_table"],
    ["fajr", "2026-03-31", "outside_table"],
    ["asr", "2026-03-27", "no_such_slot"],
    ["constructor", "2026-03-27", "no_such_slot"],
  ])("%s on %s: %s", (slot, date, expected) => {
    expect(said(march, slot, date)).toBe(expected);
  });

  it("is the same from CSV, from JSON, and as stored", () => {
    const { kind: _, ...parameters } = march;
    expect(parseTableTimetable(JSON.parse(JSON.stringify(parameters)))).toEqual(march);
    const { slots: __, ...days } = parameters;
    expect(parseTableTimetable(days)).toEqual(march);
    const shuffled = Object.fromEntries(Object.entries(march.days).reverse());
    const read = parseTableTimetable({ slots: ["isha", "fajr"], days: shuffled });
    expect(Object.keys(read.days)).toEqual(Object.keys(march.days));
    expect(read.slots).toEqual(["isha", "fajr"]);
  });

  it("has no times on a date that the zone left out", () => {
    const rows = ["2011-12-29", "2011-12-30", "2011-12-31"].map((date) => `${date},10:00`);
    const table = parseTableCsv(["date,opens", ...rows].join("\n"));
    expect(said(table, "opens", "2011-12-30", "Pacific/Apia")).toBe("skipped_date");
    expect(said(table, "opens", "2011-12-31", "Pacific/Apia")).toBe("2011-12-30T20:00");
  });

  it("may name a slot as it likes", () => {
    const table = parseTableCsv("date,constructor,toString\n2026-01-01,10:00,\n2026-01-02,,11:00");
    expect(said(table, "constructor", "2026-01-01", "UTC")).toBe("2026-01-01T10:00");
    expect(said(table, "toString", "2026-01-01", "UTC")).toBe("not_in_table");
  });
});

describe("a table of each year", () => {
  const days = Array.from({ length: 366 }, (_, index) =>
    new Date(Date.UTC(2024, 0, 1 + index)).toISOString().slice(5, 10),
  );
  const table = parseTableCsv(["date,opens", ...days.map((day) => `${day},08:00`)].join("\r\n"));

  it("comes again, the leap day too", () => {
    expect(said(table, "opens", "2026-06-01")).toBe("2026-06-01T06:00");
    expect(said(table, "opens", "2031-06-01")).toBe("2031-06-01T06:00");
    expect(said(table, "opens", "2028-02-29")).toBe("2028-02-29T07:00");
  });

  it("must say what the leap day has, and may be a season", () => {
    const withoutLeap = ["date,opens", ...days.filter((day) => day !== "02-29").map((day) => `${day},08:00`)];
    expect(faultsOf(() => parseTableCsv(withoutLeap.join("\n")))).toEqual([
      "malformed_table Line 61: 02-29 is missing before 03-01",
    ]);
    const season = parseTableCsv("date,opens\n06-01,08:00\n06-02,08:30");
    expect(said(season, "opens", "2026-06-02")).toBe("2026-06-02T06:30");
    expect(said(season, "opens", "2026-06-03")).toBe("outside_table");
  });
});

describe("CSV", () => {
  it.each<[string, string]>([
    ["a byte-order mark", `\uFEFF${csv}`],
    ["carriage returns", csv.replaceAll("\n", "\r\n")],
    ["empty lines and spaces", `${csv.replaceAll(",", " , ").replaceAll("\n", "\n\n")}\n\n`],
    ["quotes", csv.replaceAll(/[^,\n]+/g, (cell) => `"${cell}"`)],
  ])("may have %s", (_, text) => {
    expect(parseTableCsv(text)).toEqual(march);
  });

  it.each<[string, string]>([
    ["UTF-16, little end first", Buffer.from(`\uFEFF${csv}`, "utf16le").toString("utf8")],
    ["UTF-16 without a mark", Buffer.from(csv, "utf16le").toString("utf8")],
    ["UTF-16, big end first", Buffer.from(`\uFEFF${csv}`, "utf16le").swap16().toString("utf8")],
    ["Latin-1", Buffer.from(`${csv}\nG\u00fcltig`, "latin1").toString("utf8")],
    ["UTF-16 read as Latin-1", Buffer.from(`\uFEFF${csv}`, "utf16le").toString("latin1")],
    ["UTF-8 read as Latin-1", Buffer.from(`\uFEFF${csv}`, "utf8").toString("latin1")],
  ])("in %s is refused", (_, text) => {
    const [fault, ...others] = faultsOf(() => parseTableCsv(text));
    expect(fault).toMatch(/^wrong_encoding Line \d+: /);
    expect(others).toEqual([]);
  });

  it.each<[string, string[]]>([
    ["", [/Line 1: the header/.source]],
    ["date", ["Line 1: the header"]],
    ["day,fajr\n2026-01-01,05:00", ["Line 1: the header"]],
    ["date;fajr\n2026-01-01;05:00", ["Line 1: the header"]],
    ["date,fajr", ["Line 1: The table has no times"]],
    ["date,fajr\n2026-01-01,", ["Line 1: The table has no times"]],
    ["date,fajr,fajr\n2026-01-01,05:00,06:00", ['Line 1: The slot "fajr" is there twice']],
    ["date,\n2026-01-01,05:00", ['Line 1: "" is no name']],
    ["date,a/b\n2026-01-01,05:00", ['Line 1: "a/b" is no name']],
    ["date,__proto__\n2026-01-01,05:00", ['Line 1: "__proto__" is no name']],
    ["date,fajr\n2026-02-30,05:00", ['Line 2: "2026-02-30" is no date']],
    ["date,fajr\n01/02/2026,05:00", ['Line 2: "01/02/2026" is no date']],
    ["date,fajr\n2026-01-01,05:00\n01-02,05:00", ['Line 3: "01-02" is no date of the form YYYY']],
    ["date,fajr\n01-01,05:00\n2026-01-02,05:00", ['Line 3: "2026-01-02" is no date of the form MM-DD']],
    ["date,fajr\n2026-01-01,05:00\n2026-01-01,05:00", ["Line 3: 2026-01-01 is there twice, first at Line 2"]],
    ["date,fajr\n2026-01-01,05:00\n2026-01-03,05:00", ["Line 3: 2026-01-02 is missing before 2026-01-03"]],
    ["date,fajr\n2026-01-05,05:00\n2026-01-01,05:00", ["Line 2: 2026-01-02 to 2026-01-04 are missing"]],
    ["date,fajr\n2026-01-01,5:00", ['Line 2: "5:00" is no time']],
    ["date,fajr\n2026-01-01,05:00 AM", ['Line 2: "05:00 AM" is no time']],
    ["date,fajr\n2026-01-01,05:00,06:00", ["Line 2: it has 3 cells, the header 2"]],
    ['date,fajr\n2026-01-01,"05:00', ["line 2"]],
    [
      "date,fajr\n2026-01-01,25:61\n2026-01-01,05:00\nnever,05:00\n2026-01-04,later\n2026-01-05",
      ["Line 2:", "Line 3:", "Line 4:", "Line 5: 2026-01-02 to", 'Line 5: "later"', "Line 6:"],
    ],
  ])("%j is refused, all that is wrong at once", (text, expected) => {
    const faults = faultsOf(() => parseTableCsv(text));
    expect(faults).toEqual(expected.map((part) => expect.stringContaining(part)));
    expect(faults.every((fault) => fault.startsWith("malformed_table "))).toBe(true);
  });

  it("with many mistakes names twenty and counts the others", () => {
    const rows = Array.from({ length: 500 }, (_, index) => {
      const date = new Date(Date.UTC(2026, 0, 1 + index)).toISOString().slice(0, 10);
      return `${date},${index % 2 === 0 ? "noon" : "12:00"}`;
    });
    const faults = faultsOf(() => parseTableCsv(["date,dhuhr", ...rows].join("\n")));
    expect(faults).toHaveLength(21);
    expect(faults[19]).toContain("Line 40:");
    expect(faults[20]).toContain("Line 42: From here on 230 more");
  });
});

describe("JSON", () => {
  it.each<[unknown, string]>([
    [{}, "/p/days"],
    [{ days: [] }, "/p/days"],
    [{ days: { "2026-01-01": "05:00" } }, "/p/days/2026-01-01"],
    [{ days: {} }, "/p/slots"],
    [{ days: { "2026-01-01": { fajr: "05:00" } }, rows: [] }, "/p/rows"],
    [{ slots: "fajr", days: { "2026-01-01": { fajr: "05:00" } } }, "/p/slots"],
    [{ slots: [1], days: { "2026-01-01": { fajr: "05:00" } } }, "/p/slots/0"],
    [{ slots: ["isha"], days: { "2026-01-01": { fajr: "05:00" } } }, "/p/days/2026-01-01/fajr"],
    [{ days: { "2026-01-01": { fajr: 5 } } }, "/p/days/2026-01-01/fajr"],
    [{ days: { "2026-01-01": { fajr: "05:00" }, "2026-01-03": { fajr: "05:00" } } }, "/p/days/2026-01-03"],
    [{ days: { "2026-13-01": { fajr: "05:00" } } }, "/p/days/2026-13-01"],
  ])("%j is refused", (params, pointer) => {
    const faults = faultsOf(() => parseTableTimetable(params, "/p"));
    expect(faults[0]).toMatch(new RegExp(`^invalid_request ${pointer} `));
  });
});
