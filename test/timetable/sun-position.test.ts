import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sunAltitudeDegrees } from "../../src/timetable/sun-position.ts";
import { altitudeDegrees } from "./sun-oracle.ts";

describe("the sun's altitude", () => {
  it("agrees with another set of equations anywhere, 2000-2050", () => {
    const moments = fc.record({
      instantMs: fc.integer({ min: Date.UTC(2000, 0), max: Date.UTC(2050, 0) }),
      latitude: fc.double({ min: -90, max: 90, noNaN: true }),
      longitude: fc.double({ min: -180, max: 180, noNaN: true }),
    });
    fc.assert(
      fc.property(moments, ({ instantMs, latitude, longitude }) => {
        const difference =
          sunAltitudeDegrees(instantMs, latitude, longitude) - altitudeDegrees(instantMs, latitude, longitude);
        expect(Math.abs(difference)).toBeLessThan(0.03);
      }),
      { numRuns: 5_000 },
    );
  });

  it("is 90 degrees on a tropic at its solstice's noon", () => {
    expect(sunAltitudeDegrees(Date.parse("2026-06-21T12:02:00Z"), 23.44, 0)).toBeGreaterThan(89.7);
  });
});
