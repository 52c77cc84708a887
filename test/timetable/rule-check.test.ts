import { describe, expect, it } from "vitest";
import type { ErrorCode } from "../../src/errors.ts";
import { parseRule } from "../../src/timetable/rule-check.ts";

const wall = { kind: "wall", time: "07:30", zone: "Europe/Berlin" };
const timetable = { kind: "timetable", placeId: 12, slot: "fajr" };

describe("rules that make sense", () => {
  it("get their defaults", () => {
    expect(parseRule(wall)).toEqual({
      kind: "wall",
      time: "07:30:00",
      zone: "Europe/Berlin",
      days: [1, 2, 3, 4, 5, 6, 7],
      gap: "shift",
      overlap: "first",
      offsetsMinutes: [0],
    });
    expect(parseRule(timetable)).toEqual({ ...timetable, offsetsMinutes: [0] });
  });

  it("keep what they say, in the canonical spelling", () => {
    const said = { ...wall, time: "23:59:59", zone: "europe/berlin", days: [7, 1, 7], gap: "skip", overlap: "both" };
    expect(parseRule(said)).toEqual({ ...said, zone: "Europe/Berlin", days: [1, 7], offsetsMinutes: [0] });
    expect(parseRule({ ...timetable, offsetMinutes: -1_440 })).toEqual({ ...timetable, offsetsMinutes: [-1_440] });
    expect(parseRule({ ...timetable, offsetMinutes: -0 })).toEqual({ ...timetable, offsetsMinutes: [0] });
  });

  it("are their own normal form", () => {
    for (const rule of [wall, timetable, { kind: "instant", at: "2026-11-24T19:00:00+01:00" }]) {
      const once = parseRule(rule);
      expect(parseRule(once)).toEqual(once);
    }
  });

  it.each([
    ["2026-11-24T18:00:00Z", "2026-11-24T18:00:00Z"],
    ["2026-11-24t18:00:00z", "2026-11-24T18:00:00Z"],
    ["2026-11-24T19:00:00+01:00", "2026-11-24T18:00:00Z"],
    ["2026-11-24T12:30:00-05:30", "2026-11-24T18:00:00Z"],
    ["2026-11-24T18:00:00-00:00", "2026-11-24T18:00:00Z"],
    ["2026-11-24T18:00:00.999999Z", "2026-11-24T18:00:00Z"],
    ["2026-12-31T23:59:59.5-00:30", "2027-01-01T00:29:59Z"],
    ["2024-02-29T00:00:00+14:00", "2024-02-28T10:00:00Z"],
    ["1969-12-31T23:59:59.9Z", "1969-12-31T23:59:59Z"],
    ["0099-01-01T00:00:00Z", "0099-01-01T00:00:00Z"],
  ])("instant %s is %s", (at, normal) => {
    expect(parseRule({ kind: "instant", at })).toEqual({ kind: "instant", at: normal });
  });
});

describe("rules that don't", () => {
  it.each<[unknown, ErrorCode, string]>([
    [null, "invalid_request", "/rule"],
    ["daily", "invalid_request", "/rule"],
    [[wall], "invalid_request", "/rule"],
    [{}, "invalid_request", "/rule/kind"],
    [{ kind: "cron" }, "invalid_request", "/rule/kind"],
    [{ ...wall, slot: "fajr" }, "invalid_request", "/rule/slot"],
    [{ ...wall, "a/~": 5 }, "invalid_request", "/rule/a~1~0"],
    [{ ...wall, time: undefined }, "malformed_time", "/rule/time"],
    [{ ...wall, time: "24:00" }, "malformed_time", "/rule/time"],
    [{ ...wall, time: "7:30" }, "malformed_time", "/rule/time"],
    [{ ...wall, time: "07:60" }, "malformed_time", "/rule/time"],
    [{ ...wall, time: "07:30:60" }, "malformed_time", "/rule/time"],
    [{ ...wall, time: "07:30 PM" }, "malformed_time", "/rule/time"],
    [{ ...wall, time: "07:30\n" }, "malformed_time", "/rule/time"],
    [{ ...wall, time: 730 }, "malformed_time", "/rule/time"],
    [{ ...wall, zone: "Mars/Olympus" }, "unknown_zone", "/rule/zone"],
    [{ ...wall, zone: "+02:00" }, "unknown_zone", "/rule/zone"],
    [{ ...wall, zone: "" }, "invalid_request", "/rule/zone"],
    [{ ...wall, zone: undefined }, "invalid_request", "/rule/zone"],
    [{ ...wall, days: [] }, "invalid_request", "/rule/days"],
    [{ ...wall, days: "all" }, "invalid_request", "/rule/days"],
    [{ ...wall, days: [1, 0] }, "invalid_request", "/rule/days/1"],
    [{ ...wall, days: [8] }, "invalid_request", "/rule/days/0"],
    [{ ...wall, days: [1.5] }, "invalid_request", "/rule/days/0"],
    [{ ...wall, days: ["1"] }, "invalid_request", "/rule/days/0"],
    [{ ...wall, gap: "forward" }, "invalid_request", "/rule/gap"],
    [{ ...wall, overlap: "none" }, "invalid_request", "/rule/overlap"],
    [{ ...timetable, placeId: 0 }, "invalid_request", "/rule/placeId"],
    [{ ...timetable, placeId: "12" }, "invalid_request", "/rule/placeId"],
    [{ ...timetable, slot: "" }, "invalid_request", "/rule/slot"],
    [{ ...timetable, offsetMinutes: 1_441 }, "offset_out_of_range", "/rule/offsetMinutes"],
    [{ ...timetable, offsetMinutes: -1_441 }, "offset_out_of_range", "/rule/offsetMinutes"],
    [{ ...timetable, offsetMinutes: 0.5 }, "offset_out_of_range", "/rule/offsetMinutes"],
    [{ ...timetable, offsetMinutes: Number.NaN }, "offset_out_of_range", "/rule/offsetMinutes"],
    [{ kind: "instant" }, "malformed_time", "/rule/at"],
    [{ kind: "instant", at: 1_800_000_000_000 }, "malformed_time", "/rule/at"],
    [{ kind: "instant", at: "2026-11-24T18:00:00" }, "malformed_time", "/rule/at"],
    [{ kind: "instant", at: "2026-11-24T18:00Z" }, "malformed_time", "/rule/at"],
    [{ kind: "instant", at: "2026-11-24 18:00:00Z" }, "malformed_time", "/rule/at"],
    [{ kind: "instant", at: "2026-11-24" }, "malformed_time", "/rule/at"],
    [{ kind: "instant", at: "2026-02-29T18:00:00Z" }, "malformed_time", "/rule/at"],
    [{ kind: "instant", at: "2026-13-01T18:00:00Z" }, "malformed_time", "/rule/at"],
    [{ kind: "instant", at: "2026-11-24T24:00:00Z" }, "malformed_time", "/rule/at"],
    [{ kind: "instant", at: "2016-12-31T23:59:60Z" }, "malformed_time", "/rule/at"],
    [{ kind: "instant", at: "2026-11-24T18:00:00+24:00" }, "malformed_time", "/rule/at"],
    [{ kind: "instant", at: "2026-11-24T18:00:00+01:60" }, "malformed_time", "/rule/at"],
    [{ kind: "instant", at: "2026-11-24T18:00:00+0100" }, "malformed_time", "/rule/at"],
    [{ kind: "instant", at: "9999-12-31T23:59:59-01:00" }, "malformed_time", "/rule/at"],
    [{ kind: "instant", at: "0000-06-01T00:00:00Z" }, "malformed_time", "/rule/at"],
  ])("%j: %s at %s", (input, code, pointer) => {
    expect(() => parseRule(input, "/rule")).toThrow(expect.objectContaining({ code, pointer }));
  });

  it("point into the whole document when no base is given", () => {
    expect(() => parseRule({ ...wall, time: "x" })).toThrow(expect.objectContaining({ pointer: "/time" }));
    expect(() => parseRule(null)).toThrow(expect.objectContaining({ pointer: "" }));
  });
});
