import { describe, expect, it } from "vitest";
import type { ErrorCode } from "../../src/errors.ts";
import { parseRRule } from "../../src/timetable/rrule.ts";

describe("an RRULE's text", () => {
  it.each([
    ["FREQ=DAILY", "FREQ=DAILY"],
    ["RRULE:FREQ=DAILY;INTERVAL=1;WKST=MO", "FREQ=DAILY"],
    ["byday=th,mo,+2MO,-1mo;freq=monthly", "FREQ=MONTHLY;BYDAY=MO,-1MO,2MO,TH"],
    ["FREQ=YEARLY;BYMONTHDAY=+01,-1,15,1;BYMONTH=12,02", "FREQ=YEARLY;BYMONTH=2,12;BYMONTHDAY=-1,1,15"],
    ["FREQ=DAILY;COUNT=007", "FREQ=DAILY;COUNT=7"],
    ["FREQ=DAILY;UNTIL=20261231", "FREQ=DAILY;UNTIL=20261231T235959"],
    ["FREQ=DAILY;UNTIL=20261231T225959z", "FREQ=DAILY;UNTIL=20261231T225959Z"],
    ["FREQ=WEEKLY;WKST=SU;INTERVAL=2", "FREQ=WEEKLY;INTERVAL=2;WKST=SU"],
    [
      "BYSETPOS=-1,1;BYSECOND=5;BYMINUTE=0;BYHOUR=9;BYDAY=MO;FREQ=MONTHLY",
      "FREQ=MONTHLY;BYDAY=MO;BYHOUR=9;BYMINUTE=0;BYSECOND=5;BYSETPOS=-1,1",
    ],
  ])("%s is %s", (text, canonical) => {
    expect(parseRRule(text, "").text).toBe(canonical);
    expect(parseRRule(canonical, "").text).toBe(canonical);
  });

  it("says how it ends", () => {
    expect(parseRRule("FREQ=DAILY;COUNT=3", "")).toMatchObject({ count: 3, until: null });
    expect(parseRRule("FREQ=DAILY;UNTIL=20261231", "").until).toEqual({ local: "2026-12-31T23:59:59" });
    expect(parseRRule("FREQ=DAILY;UNTIL=20261231T225959Z", "").until).toEqual({
      instantMs: Date.parse("2026-12-31T22:59:59Z"),
    });
  });

  it.each<[unknown, ErrorCode]>([
    [undefined, "malformed_rrule"],
    [7, "malformed_rrule"],
    ["", "malformed_rrule"],
    ["daily", "malformed_rrule"],
    ["FREQ=HOURLY;", "malformed_rrule"],
    ["FREQ=FORTNIGHTLY", "malformed_rrule"],
    ["INTERVAL=2", "malformed_rrule"],
    ["FREQ=DAILY;FREQ=DAILY", "malformed_rrule"],
    ["FREQ=DAILY;X-FOO=1", "malformed_rrule"],
    ["RSCALE=HEBREW;FREQ=YEARLY", "malformed_rrule"],
    ["FREQ=DAILY\nEXDATE:20260101T000000", "malformed_rrule"],
    ["FREQ=DAILY;INTERVAL=0", "malformed_rrule"],
    ["FREQ=DAILY;INTERVAL=1.5", "malformed_rrule"],
    ["FREQ=DAILY;COUNT=0", "malformed_rrule"],
    ["FREQ=DAILY;COUNT=10001", "malformed_rrule"],
    ["FREQ=DAILY;COUNT=2;UNTIL=20261231", "malformed_rrule"],
    ["FREQ=DAILY;UNTIL=20260230", "malformed_rrule"],
    ["FREQ=DAILY;UNTIL=2026-12-31", "malformed_rrule"],
    ["FREQ=DAILY;UNTIL=20261231T250000", "malformed_rrule"],
    ["FREQ=WEEKLY;BYDAY=XX", "malformed_rrule"],
    ["FREQ=WEEKLY;BYDAY=2MO", "malformed_rrule"],
    ["FREQ=YEARLY;BYDAY=0MO", "malformed_rrule"],
    ["FREQ=YEARLY;BYDAY=53MO", "malformed_rrule"],
    ["FREQ=YEARLY;BYDAY=SA,-1SU", "malformed_rrule"],
    ["FREQ=YEARLY;BYYEARDAY=1;BYMONTHDAY=1", "malformed_rrule"],
    ["FREQ=YEARLY;BYYEARDAY=1;BYDAY=MO", "malformed_rrule"],
    ["FREQ=YEARLY;BYWEEKNO=1;BYDAY=MO", "malformed_rrule"],
    ["FREQ=HOURLY;BYYEARDAY=1", "malformed_rrule"],
    ["FREQ=MONTHLY;BYWEEKNO=1", "malformed_rrule"],
    ["FREQ=MONTHLY;BYYEARDAY=1", "malformed_rrule"],
    ["FREQ=WEEKLY;BYMONTHDAY=1", "malformed_rrule"],
    ["FREQ=MONTHLY;BYMONTHDAY=0", "malformed_rrule"],
    ["FREQ=MONTHLY;BYMONTHDAY=32", "malformed_rrule"],
    ["FREQ=DAILY;BYHOUR=24", "malformed_rrule"],
    ["FREQ=DAILY;BYSECOND=60", "malformed_rrule"],
    ["FREQ=DAILY;WKST=1", "malformed_rrule"],
    ["FREQ=MONTHLY;BYSETPOS=1", "malformed_rrule"],
    [`FREQ=YEARLY;BYYEARDAY=${"1,".repeat(2_000)}1`, "malformed_rrule"],
    ["FREQ=SECONDLY", "recurs_too_often"],
    ["FREQ=SECONDLY;INTERVAL=3600", "recurs_too_often"],
    ["FREQ=MINUTELY;BYSECOND=0,30", "recurs_too_often"],
    ["FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "never_occurs"],
    ["FREQ=DAILY;BYMONTH=4,6;BYMONTHDAY=31,-31", "never_occurs"],
    ["FREQ=DAILY;BYHOUR=1,2;BYSETPOS=3", "never_occurs"],
    ["FREQ=WEEKLY;BYDAY=MO;BYSETPOS=-8", "never_occurs"],
  ])("%j is refused: %s", (text, code) => {
    expect(() => parseRRule(text, "/rrule")).toThrow(expect.objectContaining({ code, pointer: "/rrule" }));
  });
});
