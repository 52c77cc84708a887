import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CarillonError } from "../../src/errors.ts";
import { localTimesBetween, nextLocalTime } from "../../src/timetable/recurrence.ts";
import { parseRRule } from "../../src/timetable/rrule.ts";
import { endedRRules, expand, expandMinutes, minuteRRules } from "./rrule-oracle.ts";

const long = process.env.CARILLON_LONG === "1";
const numRuns = long ? 100_000 : 1_000;
const timeoutMs = long ? 3_600_000 : 120_000;
const dayMs = 86_400_000;

const cases = fc.record({
  rrule: endedRRules,
  startMs: fc.oneof(
    fc.integer({ min: Date.UTC(2015, 0) / 1_000, max: Date.UTC(2026, 0) / 1_000 }).map((seconds) => seconds * 1_000),
    // the last days of months and the 29th of February
    fc
      .constantFrom("2016-02-29T09:00:00", "2015-01-31T23:30:00", "2024-12-31T00:00:00")
      .map((t) => Date.parse(`${t}Z`)),
  ),
  windowDays: fc.integer({ min: 1, max: 400 }),
  afterDays: fc.integer({ min: -30, max: 3_700 }),
});

describe("an RRULE", () => {
  it(`yields what brute force finds, ${numRuns} times`, { timeout: timeoutMs }, () => {
    const seen = { some: 0, none: 0 };
    fc.assert(
      fc.property(cases, ({ rrule, startMs, windowDays, afterDays }) => {
        const start = new Date(startMs).toISOString().slice(0, 19);
        const rule = { start, rrule: parseRRule(rrule, "").text, rdates: [], exdates: [] };
        const fromMs = startMs + afterDays * dayMs;
        const throughMs = fromMs + windowDays * dayMs;
        const whole = expand(rrule, start, throughMs);
        const wanted = whole.filter((ms) => ms >= fromMs && ms <= throughMs);
        expect(written(localTimesBetween(rule, fromMs, throughMs)), `${start} ${rrule}`).toEqual(written(wanted));
        const next = nextLocalTime(rule, fromMs - 1);
        if (wanted[0] !== undefined) expect(next, `${start} ${rrule}`).toBe(wanted[0]);
        else expect(next === null || next > throughMs, `${start} ${rrule}`).toBe(true);
        seen[wanted.length > 0 ? "some" : "none"] += 1;
      }),
      { numRuns },
    );
    expect(seen.some).toBeGreaterThan(numRuns / 3);
    expect(seen.none).toBeGreaterThan(numRuns / 50);
  });

  it("of hours or minutes yields what brute force finds", { timeout: timeoutMs }, () => {
    const minuteCases = fc.record({
      rrule: minuteRRules,
      startMinutes: fc.integer({ min: Date.UTC(2024, 0) / 60_000, max: Date.UTC(2025, 0) / 60_000 }),
      afterDays: fc.integer({ min: -1, max: 70 }),
    });
    let some = 0;
    fc.assert(
      fc.property(minuteCases, ({ rrule, startMinutes, afterDays }) => {
        const startMs = startMinutes * 60_000;
        const start = new Date(startMs).toISOString().slice(0, 19);
        const rule = { start, rrule: parseRRule(rrule, "").text, rdates: [], exdates: [] };
        const fromMs = startMs + afterDays * dayMs;
        const throughMs = fromMs + 3 * dayMs;
        const wanted = expandMinutes(rrule, start, throughMs).filter((ms) => ms >= fromMs);
        expect(written(localTimesBetween(rule, fromMs, throughMs)), `${start} ${rrule}`).toEqual(written(wanted));
        some += wanted.length > 0 ? 1 : 0;
      }),
      { numRuns: numRuns / 5 },
    );
    expect(some).toBeGreaterThan(numRuns / 50);
  });

  it("is refused, or read, whatever the text", () => {
    const token = fc.constantFrom(
      ...[
        "FREQ",
        "BYDAY",
        "BYMONTHDAY",
        "COUNT",
        "UNTIL",
        "=",
        ";",
        ",",
        "DAILY",
        "YEARLY",
        "MO",
        "-1SU",
        "0",
        "1",
        "-",
      ],
      ...["99", "1e9", "20261231", "20261231T000000Z", "rrule:", " ", "\n", "é"],
    );
    const garbage = fc.oneof(
      fc.string(),
      fc.array(token, { maxLength: 12 }).map((tokens) => tokens.join("")),
    );
    fc.assert(
      fc.property(garbage, (text) => {
        try {
          const { text: canonical } = parseRRule(text, "/rrule");
          expect(parseRRule(canonical, "/rrule").text).toBe(canonical);
        } catch (error) {
          if (!(error instanceof CarillonError)) throw error;
          expect(["malformed_rrule", "recurs_too_often"]).toContain(error.code);
        }
      }),
      { numRuns: 20_000 },
    );
  });
});

function written(locals: readonly number[]): string[] {
  return locals.map((ms) => new Date(ms).toISOString().slice(0, 19));
}
