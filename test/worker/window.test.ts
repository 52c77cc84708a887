import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Window } from "../../src/worker/window.ts";

const never = new AbortController().signal;
/** What a promise has come to by now; undefined: it is still open. */
async function now<T>(promise: Promise<T>): Promise<T | undefined> {
  return Promise.race([promise, new Promise<undefined>((resolve) => setImmediate(() => resolve(undefined)))]);
}

describe("Window", () => {
  it("gives what is wanted while there is room, then what is left, and then nobody any", async () => {
    const window = new Window(100);
    expect(await window.take(60, never)).toBe(60);
    expect(await window.take(60, never)).toBe(40);
    expect(window.taken).toBe(100);
    expect(await now(window.take(1, never))).toBeUndefined();
  });

  it("waits for a quarter of the window, so that chunks do not crumble, or for as little as is wanted", async () => {
    const window = new Window(100);
    await window.take(100, never);
    const large = window.take(60, never);
    const small = window.take(3, never);
    window.give(24);
    expect(await now(large)).toBeUndefined();
    window.give(1);
    expect(await now(large)).toBe(25);
    expect(await now(small)).toBeUndefined();
    window.give(3);
    expect(await now(small)).toBe(3);
  });

  it("serves first who came first, even if a later one wants less", async () => {
    const window = new Window(10);
    await window.take(10, never);
    const served: string[] = [];
    const first = window.take(10, never).then(() => served.push("first"));
    const second = window.take(1, never).then(() => served.push("second"));
    window.give(2);
    await now(first);
    expect(served).toEqual([]);
    window.give(8);
    await first;
    window.give(1);
    await second;
    expect(served).toEqual(["first", "second"]);
  });

  it("lets go of who gives up waiting, and gives the room to the next", async () => {
    const window = new Window(10);
    await window.take(10, never);
    const stop = new AbortController();
    const first = window.take(10, stop.signal);
    const second = window.take(2, never);
    stop.abort(new Error("lost"));
    await expect(first).rejects.toThrow("lost");
    window.give(2);
    expect(await now(second)).toBe(2);
    expect(() => window.take(1, AbortSignal.abort(new Error("late")))).toThrow("late");
  });

  it("an abandoned first in line does not keep room that is there from the next", async () => {
    const window = new Window(10);
    await window.take(9, never);
    const stop = new AbortController();
    const large = window.take(10, stop.signal);
    const small = window.take(1, never);
    expect(await now(small)).toBeUndefined();
    stop.abort(new Error("lost"));
    await expect(large).rejects.toThrow("lost");
    expect(await now(small)).toBe(1);
  });

  it("is overdrawn by one user with more endpoints than room, and gives nothing until that is paid back", async () => {
    const window = new Window(10);
    await window.take(10, never);
    window.overdraw(3);
    expect(window.taken).toBe(13);
    const next = window.take(1, never);
    window.give(3);
    expect(await now(next)).toBeUndefined();
    window.give(1);
    expect(await now(next)).toBe(1);
  });

  it("refuses room that nobody took", () => {
    expect(() => new Window(10).give(1)).toThrow("more room was given back");
  });

  it("tells when something moved last", async () => {
    let nowMs = 5;
    const window = new Window(10, () => nowMs);
    await window.take(4, never);
    nowMs = 70;
    window.give(0);
    expect(window.movedAtMs).toBe(5);
    window.give(4);
    expect(window.movedAtMs).toBe(70);
  });

  it("never gives more than there is, and gets all of it back", async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("take" as const), want: fc.integer({ min: 1, max: 40 }) }),
      fc.record({ kind: fc.constant("overdraw" as const), room: fc.integer({ min: 1, max: 19 }) }),
      fc.record({ kind: fc.constant("give" as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
      fc.record({ kind: fc.constant("abort" as const), which: fc.nat(20) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 50 }), fc.array(step, { maxLength: 60 }), async (size, steps) => {
        const window = new Window(size);
        let [held, overdrawn] = [0, 0];
        const waiting: AbortController[] = [];
        for (const next of steps) {
          if (next.kind === "take") {
            const stop = new AbortController();
            waiting.push(stop);
            window.take(next.want, stop.signal).then(
              (room) => {
                expect(room).toBeGreaterThanOrEqual(1);
                expect(room).toBeLessThanOrEqual(next.want);
                held += room;
              },
              () => undefined,
            );
          } else if (next.kind === "overdraw" && held > 0) {
            window.overdraw(next.room);
            held += next.room;
            overdrawn += next.room;
          } else if (next.kind === "give") {
            const room = Math.floor(held * next.share);
            held -= room;
            overdrawn = Math.min(overdrawn, held);
            window.give(room);
          } else if (next.kind === "abort") {
            waiting[next.which]?.abort(new Error("gave up"));
          }
          await new Promise((resolve) => setImmediate(resolve));
          expect(window.taken).toBe(held);
          expect(held).toBeLessThanOrEqual(size + overdrawn);
        }
        for (const stop of waiting) stop.abort(new Error("over"));
        await new Promise((resolve) => setImmediate(resolve));
        window.give(held);
        expect(window.taken).toBe(0);
        expect(await window.take(size, never)).toBe(size);
      }),
      { numRuns: 60 },
    );
  });
});
