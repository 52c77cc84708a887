import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ClockReading } from "../../src/clock.ts";
import { PgClock } from "../../src/worker/pg-clock.ts";
import { realTime } from "./worker-context.ts";

describe("PgClock", () => {
  let monoMs = 0;
  const mono = () => monoMs;
  /** A reply that takes so long to come, of which so much before Postgres looked at its clock. */
  const replyAfter = (aheadMs: number, thereMs: number, backMs: number) => async () => {
    monoMs += thereMs;
    const pgMs = monoMs + aheadMs;
    monoMs += backMs;
    return realTime(pgMs);
  };

  it("knows nothing before its first sample", () => {
    expect(() => new PgClock(mono).nowMs()).toThrow("before its first sample");
  });

  it("goes on with the monotonic clock between samples", async () => {
    monoMs = 100;
    const clock = new PgClock(mono);
    await clock.sample(replyAfter(1_000_000, 5, 5));
    expect(clock.nowMs()).toBe(1_000_110);
    monoMs += 1234;
    expect(clock.nowMs()).toBe(1_001_344);
    expect(clock.skewMs(1_001_000)).toBe(-344);
  });

  it("trusts the quickest of the last replies: a slow one moves it little", async () => {
    const clock = new PgClock(mono);
    await clock.sample(replyAfter(5000, 1, 1));
    await clock.sample(replyAfter(5000, 900, 1));
    expect(clock.nowMs() - monoMs).toBe(5000);
  });

  it("follows a clock that was set, once the old samples are out", async () => {
    const clock = new PgClock(mono);
    for (let samples = 0; samples < 10; samples += 1) await clock.sample(replyAfter(5000, 1, 1));
    for (let samples = 0; samples < 10; samples += 1) await clock.sample(replyAfter(65_000, 2, 2));
    expect(clock.nowMs() - monoMs).toBe(65_000);
  });

  it("is wrong by no more than half of its quickest round trip", async () => {
    const leg = fc.integer({ min: 0, max: 500 });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(leg, leg), { minLength: 1, maxLength: 25 }), async (legs) => {
        const clock = new PgClock(mono);
        for (const [thereMs, backMs] of legs) await clock.sample(replyAfter(7000, thereMs, backMs));
        const quickestMs = Math.min(...legs.slice(-10).map(([thereMs, backMs]) => thereMs + backMs));
        expect(Math.abs(clock.nowMs() - monoMs - 7000)).toBeLessThanOrEqual(quickestMs / 2);
      }),
    );
  });

  it("keeps what it knows when Postgres does not answer", async () => {
    const clock = new PgClock(mono);
    await clock.sample(replyAfter(5000, 1, 1));
    await expect(clock.sample(() => Promise.reject(new Error("away")))).rejects.toThrow("away");
    expect(clock.nowMs() - monoMs).toBe(5000);
  });

  describe("under a development clock", () => {
    const atMs = Date.UTC(2027, 2, 28);
    /** 60 of its seconds in a real one, set when real time was 1,000 ms. */
    const sixtyfold = async (): Promise<ClockReading> => ({
      realMs: 1000 + monoMs,
      clockMs: atMs + monoMs * 60,
      speed: 60,
    });

    it("goes at its pace, and says what that is in real time", async () => {
      monoMs = 0;
      const clock = new PgClock(mono);
      await clock.sample(sixtyfold);
      monoMs = 10_000;
      expect(clock.nowMs()).toBe(atMs + 600_000);
      expect(clock.realNowMs()).toBe(11_000);
      expect(clock.realMsUntil(atMs + 1_200_000)).toBe(10_000);
      expect(clock.realMsUntil(atMs)).toBe(-10_000);
      expect(clock.realTimeOf(atMs + 60_000)).toBe(2000);
      expect(clock.skewMs(11_500)).toBe(500);
    });

    it("takes up a clock that was set anew with the next sample, however slow that one is", async () => {
      monoMs = 0;
      const clock = new PgClock(mono);
      for (let samples = 0; samples < 10; samples += 1) await clock.sample(replyAfter(5000, 1, 1));
      await clock.sample(async () => {
        monoMs += 600;
        const realMs = monoMs + 5000;
        monoMs += 10;
        return { realMs, clockMs: atMs, speed: 3600 };
      });
      // 10 real milliseconds ago it showed that
      expect(clock.nowMs()).toBe(atMs + 36_000);
      // and real time is still what the quickest replies say
      expect(clock.realNowMs()).toBe(monoMs + 5000);
    });

    it("is off by its pace times what real time is off by", async () => {
      const pace = fc.double({ min: 0.001, max: 3600, noNaN: true });
      await fc.assert(
        fc.asyncProperty(pace, fc.integer({ min: 0, max: 86_400_000 }), async (speed, laterMs) => {
          monoMs = 0;
          const clock = new PgClock(mono);
          await clock.sample(async () => ({ realMs: 7000, clockMs: atMs, speed }));
          monoMs = laterMs;
          expect(Math.abs(clock.nowMs() - (atMs + laterMs * speed))).toBeLessThan(1);
          expect(Math.abs(clock.realMsUntil(clock.nowMs()))).toBeLessThan(1 / Math.min(1, speed));
        }),
      );
    });
  });
});
