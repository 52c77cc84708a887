import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { patchTopic } from "../../src/store/topics.ts";
import { createEngine, type Engine, type SeededMoment } from "../support/engine.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

const lastsMs = async ({ bucketId }: SeededMoment) =>
  (
    await engine.one<{ lasts_ms: number }>(
      "select (extract(epoch from expires_at - due_at) * 1000)::float8 as lasts_ms from carillon.time_buckets where bucket_id = $1",
      [bucketId],
    )
  ).lasts_ms;
const nameOf = async ({ topicId }: SeededMoment) =>
  (await engine.one<{ name: string }>("select name from carillon.topics where topic_id = $1", [topicId])).name;

describe("a topic's new expiry", () => {
  it.each([60_000, 3_600_000])("of %i ms is that of moments that are planned, cut or not", async (expiresAfterMs) => {
    const planned = await engine.moment({ dueInMs: 600_000, groups: 0 });
    const cut = await engine.moment({ dueInMs: 5000, groups: 3 });
    for (const moment of [planned, cut]) {
      await patchTopic(engine.db, await nameOf(moment), { expiresAfterMs });
      expect(await lastsMs(moment)).toBe(expiresAfterMs);
    }
  });

  it("leaves alone what was claimed, what is closed, and other topics; an edit of anything else changes none", async () => {
    const claimed = await engine.moment({ dueInMs: 5000, groups: 2 });
    const closed = await engine.moment({ dueInMs: -60_000 });
    const other = await engine.moment({ dueInMs: 5000 });
    await engine.claim(claimed, 1);
    await engine.rows("update carillon.time_buckets set closed_at = now(), closed_as = 'done' where bucket_id = $1", [
      closed.bucketId,
    ]);
    for (const moment of [claimed, closed]) {
      await patchTopic(engine.db, await nameOf(moment), { expiresAfterMs: 1_800_000 });
      expect(await lastsMs(moment)).toBe(600_000);
    }
    await patchTopic(engine.db, await nameOf(other), { title: "new", groupCount: 7, catchUp: "all" });
    expect(await lastsMs(other)).toBe(600_000);
  });

  it("comes by plain SQL, too, many topics at once", async () => {
    const moments = [await engine.moment({ dueInMs: 5000 }), await engine.moment({ dueInMs: 6000 })];
    await engine.rows("update carillon.topics set expires_after_ms = 120000 where topic_id = any ($1)", [
      moments.map(({ topicId }) => topicId),
    ]);
    expect(await Promise.all(moments.map(lastsMs))).toEqual([120_000, 120_000]);
  });

  it("gives way to a claim that came first and is not committed yet", async () => {
    const moment = await engine.moment({ dueInMs: 5000 });
    await using claiming = await engine.begin();
    await engine.claim(moment, 0, claiming.client);
    await using editing = await engine.begin();
    const edited = editing.client.query("update carillon.topics set expires_after_ms = 120000 where topic_id = $1", [
      moment.topicId,
    ]);
    await engine.waits(editing);
    await claiming.commit();
    await edited;
    await editing.commit();
    expect(await lastsMs(moment)).toBe(600_000);
  });

  it("is what a claim reads that comes later", async () => {
    const moment = await engine.moment({ dueInMs: 5000 });
    await using editing = await engine.begin();
    await editing.client.query("update carillon.topics set expires_after_ms = 120000 where topic_id = $1", [
      moment.topicId,
    ]);
    await expect(engine.claim(moment)).rejects.toThrow("could not be claimed");
    await editing.commit();
    const group = await engine.claim(moment);
    expect(Math.round(group.expiresAtMs - group.dueAtMs)).toBe(120_000);
  });
});
