import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDestination } from "../../src/store/destinations.ts";
import { markStopped, reserve, setPace } from "../../src/store/outlets.ts";
import { createEngine, type Engine } from "../support/engine.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

let made = 0;
async function destination(): Promise<{ id: number; name: string }> {
  made += 1;
  const { destination } = await createDestination(
    engine.db,
    { channel: "webhook", name: `outlet-${made}`, url: "https://receiver.example/", batchSize: 1 },
    new Uint8Array(32),
  );
  return { id: destination.destinationId, name: destination.name };
}

describe("a destination's pace", () => {
  it("is nobody's business where there is none", async () => {
    expect(await reserve(engine.db.pool, (await destination()).id, 100, 1000)).toEqual({ kind: "unpaced" });
  });

  it("gives blocks one behind the other, and none that would begin too late", async () => {
    const { id, name } = await destination();
    await setPace(engine.db.pool, name, { perSecond: 100, rampUpMs: 0 });
    expect(await reserve(engine.db.pool, id, 50, 1000)).toEqual({ kind: "reserved", waitMs: 0, lastsMs: 500 });
    const second = await reserve(engine.db.pool, id, 1000, 1000);
    expect(second).toMatchObject({ kind: "reserved", lastsMs: 10_000 });
    expect(second).toHaveProperty(
      "waitMs",
      expect.toSatisfy((ms: number) => ms > 0 && ms <= 500),
    );
    const third = await reserve(engine.db.pool, id, 1, 1000);
    expect(third).toHaveProperty("kind", "full");
    expect(third).toHaveProperty(
      "waitMs",
      expect.toSatisfy((ms: number) => ms > 1000 && ms <= 10_500),
    );
  });

  it("is kept by nodes that ask at once: their blocks never overlap", async () => {
    const { id, name } = await destination();
    await setPace(engine.db.pool, name, { perSecond: 1000, rampUpMs: 0 });
    const began = performance.now();
    const blocks = await Promise.all(Array.from({ length: 8 }, () => reserve(engine.db.pool, id, 100, 60_000)));
    const took = performance.now() - began;
    const waits = blocks.map((block) => (block.kind === "reserved" ? block.waitMs : Number.NaN)).sort((a, b) => a - b);
    // each begins 100 ms behind the one before, less the time at which it asked
    for (const [place, waitMs] of waits.entries()) {
      expect(waitMs).toBeLessThanOrEqual(place * 100 + 1);
      expect(waitMs).toBeGreaterThanOrEqual(place * 100 - took - 1);
    }
    const { free } = await engine.one<{ free: number }>(
      "select (extract(epoch from free_at - busy_since) * 1000)::float8 as free from carillon.paces where destination_id = $1",
      [id],
    );
    expect(free).toBeCloseTo(800, 0);
  });

  it("rises after a silence, from a tenth to the whole", async () => {
    const { id, name } = await destination();
    await setPace(engine.db.pool, name, { perSecond: 1000, rampUpMs: 60_000 });
    expect(await reserve(engine.db.pool, id, 100, 1000)).toMatchObject({ lastsMs: 1000 });
    const since = (seconds: number) =>
      engine.rows(
        "update carillon.paces set busy_since = clock_timestamp() - $2 * interval '1 s', free_at = clock_timestamp() where destination_id = $1",
        [id, seconds],
      );
    await since(30);
    expect(await reserve(engine.db.pool, id, 100, 1000)).toHaveProperty("lastsMs", expect.closeTo(200, 0));
    await since(90);
    expect(await reserve(engine.db.pool, id, 100, 1000)).toMatchObject({ lastsMs: 100 });
    await setPace(engine.db.pool, name, null);
    expect(await reserve(engine.db.pool, id, 100, 1000)).toEqual({ kind: "unpaced" });
  });
});

describe("a destination that refuses its credential", () => {
  it("is in attention until it is accepted again; the first one's words stay", async () => {
    const { id } = await destination();
    const attention = () => engine.rows("select why from carillon.attention where kind = 'destination refuses'");
    await markStopped(engine.db.pool, id, null);
    expect(await attention()).toEqual([]);
    await markStopped(engine.db.pool, id, "answered 401");
    await markStopped(engine.db.pool, id, "answered 403");
    expect(await attention()).toEqual([{ why: "answered 401" }]);
    await markStopped(engine.db.pool, id, null);
    expect(await attention()).toEqual([]);
  });
});
