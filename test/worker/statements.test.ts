import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { outcomeStands } from "../../src/store/outcome.ts";
import { deliverGroup } from "../../src/worker/deliver-group.ts";
import { createStatements } from "../../src/worker/statements.ts";
import { createEngine, type Engine, intendSurely, recordOf, type SeededMoment } from "../support/engine.ts";
import { announcing, heldGroup, workerContext } from "./worker-context.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine({ max: 12 });
});
afterAll(() => engine[Symbol.asyncDispose]());

/** Small moments, due; the ledger of the last one's day is gone, so nothing can be written of it. */
async function momentsAndOneUnwritable(): Promise<readonly SeededMoment[]> {
  const moments: SeededMoment[] = [];
  for (let number = 0; number < 4; number += 1) {
    const moment = await engine.moment({ users: 3 });
    await engine.rows("update carillon.time_buckets set population = 3 where bucket_id = $1", [moment.bucketId]);
    moments.push(moment);
  }
  await engine.rows("update carillon.time_buckets set due_at = '2001-02-03' where bucket_id = $1", [
    moments.at(-1)?.bucketId,
  ]);
  await engine.rows("update carillon.subscriptions set subscribed_at = '2001-01-01' where schedule_id = $1", [
    moments.at(-1)?.scheduleId,
  ]);
  return moments;
}

describe("what small groups ask for together", () => {
  it("is written for the others, where it can't be for one of them", async () => {
    const moments = await momentsAndOneUnwritable();
    const groups = [];
    for (const moment of moments) groups.push(heldGroup(await engine.claim(moment)));
    const worker = await workerContext(engine);
    const ends = await Promise.all(groups.map((group) => deliverGroup(worker, group)));
    expect(ends).toEqual(["finished", "finished", "finished", "released"]);
    const delivered = [];
    for (const moment of moments) delivered.push((await engine.group(moment)).delivered);
    expect(delivered).toEqual([3, 3, 3, 0]);
  });

  it("is recorded for the others, and refused to the one by an error of its own", async () => {
    const statements = createStatements(engine.db);
    const records = [];
    for (let number = 0; number < 3; number += 1) {
      const group = await engine.claim(await engine.moment({ users: 2 }));
      records.push(recordOf(group, await intendSurely(engine.db.pool, group)));
    }
    const results = await Promise.allSettled(
      records.map((record, index) => statements.record(index === 1 ? { ...record, dueDay: "2001-02-03" } : record)),
    );
    expect(results).toMatchObject([
      { status: "fulfilled", value: true },
      { status: "rejected", reason: { code: "23514" } },
      { status: "fulfilled", value: true },
    ]);
    const stands = await Promise.all(records.map((record) => outcomeStands(engine.db.pool, record)));
    expect(stands).toEqual([true, false, true]);
  });

  it("goes to Postgres as one statement of a kind", async () => {
    const moments: SeededMoment[] = [];
    for (let number = 0; number < 4; number += 1) {
      const moment = await engine.moment({ users: 3 });
      await engine.rows("update carillon.time_buckets set population = 3 where bucket_id = $1", [moment.bucketId]);
      moments.push(moment);
    }
    const groups = [];
    for (const moment of moments) groups.push(heldGroup(await engine.claim(moment)));
    const seen: string[] = [];
    const db = announcing(engine.db, async (statement) => void seen.push(statement));
    const worker = await workerContext(engine, { db });
    expect(await Promise.all(groups.map((group) => deliverGroup(worker, group)))).toEqual(
      moments.map(() => "finished"),
    );
    expect(seen).toEqual(["intend_many", "record_many", "settle_groups", "close_buckets"]);
  });
});
