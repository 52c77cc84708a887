import { fc, test } from "@fast-check/vitest";
import { describe, expect, it } from "vitest";
import {
  attemptsMax,
  authWaitMs,
  eventRetryCapMs,
  eventWaitMs,
  nextTryAfterAuthMs,
  nextTryMs,
  retryBaseMs,
  retryCapMs,
} from "../../src/reminder/retry-policy.ts";

const nowMs = 1_800_000_000_000;
const never = Number.MAX_SAFE_INTEGER;
const almostOne = 1 - Number.EPSILON;

describe("nextTryMs", () => {
  it("doubles the longest wait with each attempt, up to the cap", () => {
    const longest = Array.from({ length: attemptsMax - 1 }, (_, attempt) => {
      const next = nextTryMs({ attempt, nowMs, expiresAtMs: never, random: almostOne });
      return next === null ? null : Math.ceil((next - nowMs) / 1_000);
    });
    expect(longest).toEqual([1, 2, 4, 8, 16, 32, 60]);
  });

  it("draws from zero up", () => expect(nextTryMs({ attempt: 3, nowMs, expiresAtMs: never, random: 0 })).toBe(nowMs));

  it("ends after the last attempt", () => {
    expect(nextTryMs({ attempt: attemptsMax - 2, nowMs, expiresAtMs: never, random: 0.5 })).not.toBeNull();
    expect(nextTryMs({ attempt: attemptsMax - 1, nowMs, expiresAtMs: never, random: 0.5 })).toBeNull();
  });

  it("gives nothing at or after expiry", () => {
    const retry = { attempt: 0, retryAfterMs: 1_000, nowMs, random: 0 };
    expect(nextTryMs({ ...retry, expiresAtMs: nowMs + 1_001 })).toBe(nowMs + 1_000);
    expect(nextTryMs({ ...retry, expiresAtMs: nowMs + 1_000 })).toBeNull();
  });

  test.prop([
    fc.record({
      attempt: fc.nat(12),
      retryAfterMs: fc.option(fc.nat(10_000_000)),
      expiresAtMs: fc.integer({ min: nowMs - 10_000, max: nowMs + 20_000_000 }),
      random: fc.double({ min: 0, max: almostOne, noNaN: true }),
    }),
  ])("is never before Retry-After, never past the cap beyond it, never at or after expiry", (drawn) => {
    const next = nextTryMs({ ...drawn, nowMs });
    const earliestMs = nowMs + (drawn.retryAfterMs ?? 0);
    if (next !== null) {
      expect(next).toBeGreaterThanOrEqual(earliestMs);
      expect(next).toBeLessThan(Math.min(earliestMs + retryCapMs, drawn.expiresAtMs));
      expect(drawn.attempt + 1).toBeLessThan(attemptsMax);
    } else {
      const latestMs = earliestMs + Math.min(retryCapMs, retryBaseMs * 2 ** drawn.attempt);
      expect(drawn.attempt + 1 >= attemptsMax || latestMs >= drawn.expiresAtMs).toBe(true);
    }
  });
});

describe("nextTryAfterAuthMs", () => {
  it("waits a flat time, until expiry", () => {
    expect(nextTryAfterAuthMs({ nowMs, expiresAtMs: never })).toBe(nowMs + authWaitMs);
    expect(nextTryAfterAuthMs({ nowMs, expiresAtMs: nowMs + authWaitMs })).toBeNull();
  });
});

describe("eventWaitMs", () => {
  test.prop([
    fc.nat(2000),
    fc.option(fc.nat(10_000_000), { nil: undefined }),
    fc.double({ min: 0, max: almostOne, noNaN: true }),
  ])(
    "doubles up to its cap however often it failed, and is never shorter than Retry-After",
    (failures, retryAfterMs, random) => {
      const earliestMs = retryAfterMs ?? 0;
      const waitMs = eventWaitMs(failures, retryAfterMs, random);
      expect(waitMs).toBeGreaterThanOrEqual(earliestMs);
      expect(waitMs).toBeLessThan(earliestMs + Math.min(eventRetryCapMs, retryBaseMs * 2 ** failures));
      expect(eventWaitMs(failures, undefined, almostOne)).toBe(
        Math.min(eventRetryCapMs, retryBaseMs * 2 ** failures) - 1,
      );
    },
  );
});
