import { afterEach, describe, expect, it, vi } from "vitest";
import type { CarillonError } from "../../src/errors.ts";
import type { WallTimePolicy } from "../../src/timetable/civil-time.ts";
import {
  addDays,
  assertZone,
  compareDates,
  datesThrough,
  formatDate,
  isKnownZone,
  localDate,
  resolveWallTime,
  usualZoneName,
  utcMs,
  weekdayOf,
} from "../../src/timetable/civil-time.ts";

/** "2026-10-25T02:30" in a zone -> "2026-10-25T00:30:00Z[0]" */
function resolve(text: string, zone: string, policy: Partial<WallTimePolicy> = {}): string[] {
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = text.split(/[-T:]/).map(Number);
  const full = { gap: "shift", overlap: "both", ...policy } as const;
  return resolveWallTime({ year, month, day, hour, minute, second }, zone, full).map(
    ({ instantMs, fold }) => `${new Date(instantMs).toISOString().replace(".000Z", "Z")}[${fold}]`,
  );
}

function errorOf(run: () => unknown): Pick<CarillonError, "code" | "pointer"> {
  try {
    run();
  } catch (error) {
    const { code, pointer } = error as CarillonError;
    return { code, pointer };
  }
  throw new Error("did not throw");
}

describe("awkward nights", () => {
  it.each([
    ["an ordinary day", "2026-11-24T19:00", "Europe/Berlin", ["2026-11-24T18:00:00Z[0]"]],
    [
      "the hour that comes twice",
      "2026-10-25T02:30",
      "Europe/Berlin",
      ["2026-10-25T00:30:00Z[0]", "2026-10-25T01:30:00Z[1]"],
    ],
    ["its last second", "2026-10-25T02:59:59", "Europe/Berlin", ["2026-10-25T00:59:59Z[0]", "2026-10-25T01:59:59Z[1]"]],
    ["the second after it", "2026-10-25T03:00", "Europe/Berlin", ["2026-10-25T02:00:00Z[0]"]],
    ["the second before it", "2026-10-25T01:59:59", "Europe/Berlin", ["2026-10-24T23:59:59Z[0]"]],
    ["the hour that is left out", "2026-03-29T02:30", "Europe/Berlin", ["2026-03-29T01:30:00Z[0]"]],
    ["its first second", "2026-03-29T02:00", "Europe/Berlin", ["2026-03-29T01:00:00Z[0]"]],
    ["the first time after it", "2026-03-29T03:00", "Europe/Berlin", ["2026-03-29T01:00:00Z[0]"]],
    ["New York's two o'clock", "2026-03-08T02:30", "America/New_York", ["2026-03-08T07:30:00Z[0]"]],
    ["Lord Howe's half hour, left out", "2026-10-04T02:15", "Australia/Lord_Howe", ["2026-10-03T15:45:00Z[0]"]],
    [
      "Lord Howe's half hour, twice",
      "2026-04-05T01:45",
      "Australia/Lord_Howe",
      ["2026-04-04T14:45:00Z[0]", "2026-04-04T15:15:00Z[1]"],
    ],
    ["Lord Howe, once again", "2026-04-05T01:15", "Australia/Lord_Howe", ["2026-04-04T14:15:00Z[0]"]],
    ["Apia's missing day, its start", "2011-12-30T00:00", "Pacific/Apia", ["2011-12-30T10:00:00Z[0]"]],
    ["Apia's missing day, its end", "2011-12-30T23:59:59", "Pacific/Apia", ["2011-12-31T09:59:59Z[0]"]],
    ["Apia, the second before", "2011-12-29T23:59:59", "Pacific/Apia", ["2011-12-30T09:59:59Z[0]"]],
    ["Apia, the day after", "2011-12-31T00:00", "Pacific/Apia", ["2011-12-30T10:00:00Z[0]"]],
    ["Santiago's missing midnight", "2026-09-06T00:00", "America/Santiago", ["2026-09-06T04:00:00Z[0]"]],
    [
      "Santiago's second 23:30",
      "2026-04-04T23:30",
      "America/Santiago",
      ["2026-04-05T02:30:00Z[0]", "2026-04-05T03:30:00Z[1]"],
    ],
    [
      "Casablanca before Ramadan",
      "2024-03-10T02:30",
      "Africa/Casablanca",
      ["2024-03-10T01:30:00Z[0]", "2024-03-10T02:30:00Z[1]"],
    ],
    ["Casablanca after Ramadan", "2024-04-14T02:30", "Africa/Casablanca", ["2024-04-14T02:30:00Z[0]"]],
    ["Troll's two hours", "2026-03-29T02:00", "Antarctica/Troll", ["2026-03-29T02:00:00Z[0]"]],
    ["a local mean time with seconds", "1880-01-01T12:00", "Europe/Berlin", ["1880-01-01T11:06:32Z[0]"]],
  ])("%s", (_, text, zone, instants) => {
    expect(resolve(text, zone)).toEqual(instants);
  });

  it("follows the policies", () => {
    expect(resolve("2026-03-29T02:30", "Europe/Berlin", { gap: "skip" })).toEqual([]);
    expect(resolve("2011-12-30T12:00", "Pacific/Apia", { gap: "skip" })).toEqual([]);
    expect(resolve("2026-03-29T03:00", "Europe/Berlin", { gap: "skip" })).toEqual(["2026-03-29T01:00:00Z[0]"]);
    expect(resolve("2026-10-25T02:30", "Europe/Berlin", { overlap: "first" })).toEqual(["2026-10-25T00:30:00Z[0]"]);
    expect(resolve("2026-10-25T02:30", "Europe/Berlin", { overlap: "last" })).toEqual(["2026-10-25T01:30:00Z[1]"]);
    expect(resolve("2026-10-25T12:30", "Europe/Berlin", { overlap: "last" })).toEqual(["2026-10-25T11:30:00Z[0]"]);
  });

  it("refuses a date or time that is none", () => {
    const policy = { gap: "shift", overlap: "first" } as const;
    const noon = { year: 2026, month: 2, day: 28, hour: 12, minute: 0, second: 0 };
    for (const wrong of [{ day: 29 }, { month: 13 }, { hour: 24 }, { minute: 60 }, { second: 60 }, { hour: 1.5 }]) {
      expect(errorOf(() => resolveWallTime({ ...noon, ...wrong }, "UTC", policy)).code).toBe("malformed_time");
    }
    expect(errorOf(() => resolveWallTime(noon, "Mars/Olympus", policy)).code).toBe("unknown_zone");
  });
});

describe("today", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it.each(["2026-01-15", "2026-07-15", "2026-11-15"])(
    "does not matter: on %s a repeated time resolves alike",
    (today) => {
      vi.useFakeTimers({ now: new Date(`${today}T12:00:00Z`) });
      expect(resolve("2026-10-25T02:30", "Europe/Berlin")).toEqual([
        "2026-10-25T00:30:00Z[0]",
        "2026-10-25T01:30:00Z[1]",
      ]);
      expect(resolve("2026-03-29T02:30", "Europe/Berlin")).toEqual(["2026-03-29T01:30:00Z[0]"]);
    },
  );
});

/** tzdata's `backward` and `etcetera`: names that are kept for other zones, all that are not simply words among them */
const links = [
  ...["Asia/Kolkata", "Europe/Kyiv", "Asia/Ho_Chi_Minh", "Asia/Kathmandu", "Africa/Asmara", "Atlantic/Faroe"],
  ...["America/Argentina/ComodRivadavia", "America/Buenos_Aires", "America/Fort_Wayne", "America/Knox_IN"],
  ...["Antarctica/South_Pole", "Australia/ACT", "Australia/LHI", "Australia/NSW", "Brazil/DeNoronha", "Brazil/East"],
  ...["Canada/Newfoundland", "Chile/Continental", "Chile/EasterIsland", "Mexico/BajaNorte", "Mexico/BajaSur"],
  ...["CET", "CST6CDT", "EET", "EST", "EST5EDT", "HST", "MET", "MST", "MST7MDT", "PST8PDT", "WET"],
  ...["Etc/GMT", "Etc/GMT+0", "Etc/GMT-0", "Etc/GMT0", "Etc/Greenwich", "Etc/UCT", "Etc/UTC", "Etc/Universal"],
  ...["Etc/Zulu", "GMT", "GMT+0", "GMT-0", "GMT0", "UCT", "Universal", "Zulu", "GB", "GB-Eire", "Eire", "Portugal"],
  ...["NZ", "NZ-CHAT", "PRC", "ROC", "ROK", "W-SU", "US/Alaska", "US/East-Indiana", "US/Indiana-Starke", "US/Samoa"],
  ...["Egypt", "Iran", "Israel", "Jamaica", "Japan", "Kwajalein", "Libya", "Navajo", "Poland", "Singapore", "Turkey"],
];

describe("zones", () => {
  it("knows IANA zones and links, and nothing else", () => {
    for (const zone of [
      "Europe/Berlin",
      "europe/berlin",
      "Asia/Kolkata",
      "UTC",
      "Etc/GMT+5",
      "America/Argentina/Salta",
    ]) {
      expect(isKnownZone(zone), zone).toBe(true);
    }
    for (const zone of [
      "",
      "+02:00",
      "-0500",
      "Mars/Olympus",
      "CET-1CEST",
      " Europe/Berlin",
      "Europe/Berlin\n",
      "local",
    ]) {
      expect(isKnownZone(zone), zone).toBe(false);
    }
  });

  it("points at the field that holds an unknown zone", () => {
    expect(errorOf(() => assertZone("Mars/Olympus", "/rule/zone"))).toEqual({
      code: "unknown_zone",
      pointer: "/rule/zone",
    });
    expect(errorOf(() => assertZone("Mars/Olympus"))).toEqual({ code: "unknown_zone", pointer: undefined });
    expect(() => assertZone("Europe/Berlin", "/zone")).not.toThrow();
  });

  it("gives a zone its usual case, and leaves links what they are", () => {
    for (const zone of [...Intl.supportedValuesOf("timeZone"), ...links]) {
      for (const spelled of [zone, zone.toLowerCase(), zone.toUpperCase()]) expect(usualZoneName(spelled)).toBe(zone);
    }
  });

  it("follows a link to the same times", () => {
    const noon = { year: 2026, month: 7, day: 1, hour: 12, minute: 0, second: 0 };
    const policy = { gap: "shift", overlap: "first" } as const;
    for (const link of links) {
      const target = new Intl.DateTimeFormat("en-US", { timeZone: link }).resolvedOptions().timeZone;
      expect(resolveWallTime(noon, link, policy), link).toEqual(resolveWallTime(noon, target, policy));
    }
  });

  it.each(["Asia/Riyadh87", "Factory", "posixrules", "right/UTC", "localtime"])(
    "does not know %s, which is gone or never was one",
    (zone) => {
      expect(isKnownZone(zone)).toBe(false);
    },
  );
});

describe("civil dates", () => {
  it("are local: one instant, three dates", () => {
    const instantMs = Date.UTC(2026, 10, 24, 10, 30);
    expect(localDate(instantMs, "Pacific/Kiritimati")).toEqual({ year: 2026, month: 11, day: 25, weekday: 3 });
    expect(localDate(instantMs, "Europe/Berlin")).toEqual({ year: 2026, month: 11, day: 24, weekday: 2 });
    expect(localDate(instantMs, "Pacific/Midway")).toEqual({ year: 2026, month: 11, day: 23, weekday: 1 });
  });

  it("add across months, leap days and years", () => {
    const added = (text: string, days: number) => {
      const [year = 0, month = 0, day = 0] = text.split("-").map(Number);
      return formatDate(addDays({ year, month, day }, days));
    };
    expect(added("2024-02-28", 1)).toBe("2024-02-29");
    expect(added("2023-02-28", 1)).toBe("2023-03-01");
    expect(added("2026-12-31", 1)).toBe("2027-01-01");
    expect(added("2026-01-01", -1)).toBe("2025-12-31");
    expect(added("2026-01-01", 365)).toBe("2027-01-01");
    expect(added("0099-12-31", 1)).toBe("0100-01-01");
  });

  it("are those of Date, which knows the same calendar", () => {
    const everySoManyDays = 97;
    for (let day = -800_000; day < 3_000_000; day += everySoManyDays) {
      const utc = new Date(day * 86_400_000 + 86_399_999);
      const date = { year: utc.getUTCFullYear(), month: utc.getUTCMonth() + 1, day: utc.getUTCDate() };
      const found = localDate(utc.getTime(), "UTC");
      if (found.year !== date.year || found.month !== date.month || found.day !== date.day) {
        expect(found, utc.toISOString()).toMatchObject(date);
      }
      if (found.weekday !== (utc.getUTCDay() || 7)) expect(found.weekday, utc.toISOString()).toBe(utc.getUTCDay() || 7);
      if (date.year > 0 && date.year < 10_000) expect(formatDate(date)).toBe(utc.toISOString().slice(0, 10));
    }
  });

  it("compare, run and have a weekday", () => {
    const monday = { year: 2026, month: 11, day: 30 };
    expect([...datesThrough(monday, addDays(monday, 6))].map(weekdayOf)).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect([...datesThrough(monday, addDays(monday, -1))]).toEqual([]);
    expect(compareDates(monday, addDays(monday, 1))).toBeLessThan(0);
    expect(compareDates(monday, { ...monday })).toBe(0);
  });

  it("have an instant in UTC only when they exist", () => {
    const midnight = { hour: 0, minute: 0, second: 0 };
    expect(utcMs({ year: 1970, month: 1, day: 2, ...midnight })).toBe(86_400_000);
    expect(utcMs({ year: 2023, month: 2, day: 29, ...midnight })).toBeNull();
    expect(utcMs({ year: 2023, month: 0, day: 1, ...midnight })).toBeNull();
    expect(utcMs({ year: Number.NaN, month: 1, day: 1, ...midnight })).toBeNull();
  });
});
