import { describe, expect, it } from "vitest";
import { retryAfterMs } from "../../src/channels/retry-after.ts";

const nowMs = Date.parse("2026-11-24T18:00:00Z");

describe("retryAfterMs", () => {
  it.each([
    ["0", 0],
    ["7", 7_000],
    [" 120 ", 120_000],
    ["Tue, 24 Nov 2026 18:01:00 GMT", 60_000],
    ["Tuesday, 24-Nov-26 18:01:00 GMT", 60_000],
    ["Tue Nov 24 18:01:00 2026", 60_000],
    ["Tue, 24 Nov 2026 17:00:00 GMT", 0],
  ])("reads %j", (header, expected) => expect(retryAfterMs(header, undefined, nowMs)).toBe(expected));

  it.each(["", "-1", "1.5", "1e3", "soon", "2026-11-24T18:01:00Z", "Tue, 99 Foo 2026 18:01:00 GMT", "99999999999"])(
    "takes %j for none",
    (header) => expect(retryAfterMs(header, undefined, nowMs)).toBeNull(),
  );

  it("is none without a header", () => expect(retryAfterMs(undefined, undefined, nowMs)).toBeNull());

  it("takes a date relative to the receiver's own clock", () => {
    const date = "Tue, 24 Nov 2026 21:00:00 GMT";
    expect(retryAfterMs("Tue, 24 Nov 2026 21:00:05 GMT", date, nowMs)).toBe(5_000);
    expect(retryAfterMs("Tue, 24 Nov 2026 18:00:05 GMT", "not a date", nowMs)).toBe(5_000);
  });
});
