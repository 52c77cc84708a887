import { describe, expect, it } from "vitest";
import type { Reservation } from "../../src/store/outlets.ts";
import { Pace } from "../../src/worker/pace.ts";

const never = new AbortController().signal;

function paced(perSecond: number, answers: Reservation[] = []) {
  let nowMs = 0;
  const asked: number[] = [];
  const pace = new Pace(
    async (count) => {
      asked.push(count);
      return answers.shift() ?? { kind: "reserved", waitMs: 0, lastsMs: (count / perSecond) * 1000 };
    },
    () => nowMs,
  );
  return {
    pace,
    asked,
    pass: (ms: number) => {
      nowMs += ms;
    },
  };
}

describe("Pace", () => {
  it("asks for a quarter of a second's sends at a time, and uses them up before it asks again", async () => {
    const { pace, asked } = paced(1000);
    for (let sends = 0; sends < 60; sends += 1) expect(await pace.take(10, never)).toBe(0);
    // the first block tells how fast it is
    expect(asked).toEqual([10, 250, 250, 250]);
  });

  it("lets a block go whose time is over: it was for then", async () => {
    const { pace, asked, pass } = paced(1000);
    await pace.take(10, never);
    await pace.take(10, never);
    pass(501);
    await pace.take(10, never);
    expect(asked).toEqual([10, 250, 250]);
  });

  it("says how long to wait where others have sends reserved", async () => {
    const { pace } = paced(10, [{ kind: "full", waitMs: 2345 }]);
    expect(await pace.take(10, never)).toBe(2345);
    expect(await pace.take(10, never)).toBe(0);
  });

  it("does not ask again for a while where there is no pace", async () => {
    const { pace, asked, pass } = paced(10, [{ kind: "unpaced" }, { kind: "unpaced" }]);
    for (let sends = 0; sends < 9; sends += 1) expect(await pace.take(500, never)).toBe(0);
    expect(asked).toEqual([500]);
    pass(5001);
    await pace.take(500, never);
    expect(asked).toEqual([500, 500]);
  });

  it("goes on after a reservation that failed, and after a wait that was given up", async () => {
    const reserved = Promise.withResolvers<void>();
    const answers: (() => Reservation)[] = [
      () => {
        throw new Error("away");
      },
      () => {
        reserved.resolve();
        return { kind: "reserved", waitMs: 60_000, lastsMs: 1 };
      },
      () => ({ kind: "unpaced" }),
    ];
    const pace = new Pace(async () => answers.shift()?.() ?? { kind: "full", waitMs: 1 });
    await expect(pace.take(1, never)).rejects.toThrow("away");
    const giveUp = new AbortController();
    const waiting = pace.take(1, giveUp.signal);
    await reserved.promise;
    giveUp.abort(new Error("stopping"));
    await expect(waiting).rejects.toThrow("stopping");
    expect(await pace.take(1, never)).toBe(0);
    expect(answers).toEqual([]);
  });
});
