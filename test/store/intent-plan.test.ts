import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ClaimedGroup } from "../../src/store/claim.ts";
import { type IntentRequest, intend, intendDeferred } from "../../src/store/intent.ts";
import { createEngine, type Engine, intentOf, type SeededMoment } from "../support/engine.ts";

/*
 * The plan decides the speed: a hash join over all users instead of a nested loop over two primary keys once cost three
 * quarters of it. So the very statements are explained, on tables that are large enough for Postgres to be tempted.
 */
const users = 200_000;

interface PlanNode {
  readonly "Node Type": string;
  readonly "Relation Name"?: string;
  readonly "Index Name"?: string;
  readonly Plans?: readonly PlanNode[];
}

let engine: Engine;
let moment: SeededMoment;
let group: ClaimedGroup;

beforeAll(async () => {
  engine = await createEngine({ max: 3 });
  moment = await engine.moment({ users: 0, groups: 40 });
  const client = await engine.db.pool.connect();
  try {
    // no foreign keys are checked and nothing is waited for: it is the tables' size that matters
    await client.query(
      "set session_replication_role = replica; set statement_timeout = 0; set synchronous_commit = off",
    );
    await client.query(`insert into carillon.users (user_id) select 'many-' || i from generate_series(1, ${users}) i`);
    await client.query(
      `insert into carillon.subscriptions (schedule_id, user_number, hash_slot, subscribed_at)
       select $1, user_number, hash_slot, to_timestamp(0) from carillon.users order by hash_slot, user_number`,
      [moment.scheduleId],
    );
    await client.query(
      `insert into carillon.endpoints (hash_slot, user_number, ordinal, channel, address)
       select hash_slot, user_number, 1, 'memory', user_id from carillon.users order by hash_slot, user_number`,
    );
    await client.query(
      `insert into carillon.mutes (hash_slot, user_number, topic_id, muted_until)
       select hash_slot, user_number, 0, now() + interval '1 h' from carillon.users where user_number % 50 = 0`,
    );
    await client.query(
      `insert into carillon.quiet_hours (hash_slot, user_number, starts_at, ends_at)
       select hash_slot, user_number, '22:00', '07:00' from carillon.users where user_number % 3 = 0`,
    );
    await client.query(
      `insert into carillon.preferences (hash_slot, user_number, channel, allowed)
       select hash_slot, user_number, 'memory', false from carillon.users where user_number % 10 = 0`,
    );
    await client.query(
      `insert into carillon.suppressions (user_id, reason)
       select user_id, 'bounced' from carillon.users where user_number % 50 = 1`,
    );
    await client.query("analyze");
  } finally {
    client.release(true);
  }
  group = await engine.claim(moment, 7);
}, 120_000);
afterAll(() => engine[Symbol.asyncDispose]());

/** Whether anybody has set anything is told by the first row. */
const looks = ["quiet_hours", "preferences", "suppressions"].map((table) => `Seq Scan ${table}`);

/** The plan that Postgres makes for what `run` asks. @param mode as `plan_cache_mode` has it */
async function explain(
  run: (executor: Pick<pg.ClientBase, "query">) => Promise<unknown>,
  mode: "force_custom_plan" | "force_generic_plan",
): Promise<PlanNode> {
  let asked: { text: string; values: readonly unknown[] } | undefined;
  const spy = {
    query: (statement: { text: string; values: readonly unknown[] }) => {
      asked = statement;
      return Promise.resolve({ rows: [] });
    },
  };
  await run(spy as unknown as Pick<pg.ClientBase, "query">);
  if (asked === undefined) throw new Error("nothing was asked");
  await using session = await engine.begin();
  await session.client.query(`set local plan_cache_mode = ${mode}`);
  await session.client.query(`prepare asked as ${asked.text}`);
  const literals = asked.values.map((value) => (value === null ? "null" : `'${String(value)}'`)).join(", ");
  const { rows } = await session.client.query<{ "QUERY PLAN": [{ Plan: PlanNode }] }>(
    `explain (format json) execute asked(${literals})`,
  );
  await session.client.query("deallocate asked");
  const plan = rows[0]?.["QUERY PLAN"][0].Plan;
  if (plan === undefined) throw new Error("no plan");
  return plan;
}

function nodesOf(plan: PlanNode): PlanNode[] {
  return [plan, ...(plan.Plans ?? []).flatMap(nodesOf)];
}

const large = ["subscriptions", "endpoints", "users", "mutes", "quiet_hours", "preferences", "suppressions"];
/** Short ranges of their own keys, in the order of which they lie or not. */
const ranges = ["mutes", "quiet_hours", "preferences", "suppressions"].map((table) => `Bitmap Heap Scan ${table}`);

/** How the large tables are read, in the plan's order: "Index Scan endpoints_pkey". */
function readsOf(plan: PlanNode): string[] {
  return nodesOf(plan)
    .filter((node) => large.includes(node["Relation Name"] ?? "") && node["Node Type"] !== "ModifyTable")
    .map((node) => `${node["Node Type"]} ${node["Index Name"] ?? node["Relation Name"]}`);
}

describe.each(["force_custom_plan", "force_generic_plan"] as const)("with %s", (mode) => {
  const asking = (verb: typeof intend, request: Partial<IntentRequest>) =>
    explain((executor) => verb(executor, intentOf(group, request)), mode);

  it.each([true, false])(
    "the intent (dense: %s) reads both tables by their primary keys, in firing order",
    async (dense) => {
      for (const limit of [50, 500, 1000]) {
        const plan = await asking(intend, { dense, limit });
        const reads = readsOf(plan);
        expect(reads.some((read) => read.endsWith(" subscriptions_pkey"))).toBe(true);
        expect(reads.some((read) => read.endsWith(" endpoints_pkey"))).toBe(true);
        const others = reads.filter((read) => !/^Index (Only )?Scan \w+_pkey$/.test(read));
        // who wants silence is a short range of its own key; whom the suppression list means is looked up
        const expected = [
          ...ranges,
          "Index Scan suppressions_by_slot",
          "Index Scan subscriptions_by_user",
          "Index Scan users_user_id_key",
          ...looks,
        ];
        // (and of who has moved on, the one row where they are now is looked up)
        expect(others.filter((read) => !expected.includes(read))).toEqual([]);
        // what is joined by hashing are materialized pages, never a table
        for (const join of nodesOf(plan).filter((node) => node["Node Type"] === "Hash Join")) {
          expect(nodesOf(join).filter((node) => large.includes(node["Relation Name"] ?? ""))).toEqual([]);
        }
      }
    },
  );

  it("the intent of deferred deliveries scans no large table", async () => {
    const reads = readsOf(await asking(intendDeferred, { limit: 500 }));
    const others = reads.filter((read) => !/^Index (Only )?Scan \w+$/.test(read));
    expect(others.filter((read) => ![...ranges, ...looks].includes(read))).toEqual([]);
  });
});

it("a page of 500 touches its page, not the table", async () => {
  const { blocks } = await engine.one<{ blocks: number }>(
    "select (pg_relation_size('carillon.subscriptions') / 8192)::int as blocks",
  );
  for (const dense of [true, false]) {
    await using session = await engine.begin();
    let asked: { text: string; values: unknown[] } | undefined;
    await intend(
      {
        query: (statement: { text: string; values: unknown[] }) => {
          asked = statement;
          return Promise.resolve({ rows: [] });
        },
      } as unknown as Pick<pg.ClientBase, "query">,
      intentOf(group, { dense, limit: 500 }),
    );
    if (asked === undefined) throw new Error("nothing was asked");
    const { rows } = await session.client.query<{ "QUERY PLAN": [{ Plan: PlanNode & Record<string, number> }] }>({
      text: `explain (analyze, buffers, format json) ${asked.text}`,
      values: asked.values,
    });
    const plan = rows[0]?.["QUERY PLAN"][0].Plan;
    const scans = nodesOf(plan ?? { "Node Type": "" }).filter((node) => node["Relation Name"] === "subscriptions");
    const touched = scans.map((node) => Number((node as unknown as Record<string, unknown>)["Shared Hit Blocks"]));
    expect(Math.max(...touched)).toBeLessThan(blocks / 10);
  }
});
