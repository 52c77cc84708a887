import type pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openDatabase } from "../../src/store/database.ts";
import { intendMany } from "../../src/store/intent-many.ts";
import { recordMany } from "../../src/store/outcome-many.ts";
import { closeBucket, closeBuckets, settleGroup, settleGroups } from "../../src/store/settle.ts";
import { createTestDatabase } from "../support/database.ts";

/*
 * A worker's connection plans these statements once, perhaps on a database in which nothing has happened yet, where every
 * plan costs the same. So the plan is looked at that is made there: each table is to be read by look-ups all the same. (One
 * that closed buckets read all open ones for each, and took 40 ms instead of one.)
 */
type Executor = Pick<pg.ClientBase, "query">;

interface PlanNode {
  readonly "Relation Name"?: string;
  readonly "Index Name"?: string;
  readonly "Index Cond"?: string;
  readonly "Subplan Name"?: string;
  readonly Plans?: readonly PlanNode[];
}

let test: Awaited<ReturnType<typeof createTestDatabase>>;
beforeAll(async () => {
  test = await createTestDatabase();
  await test.database.pool.query("vacuum (analyze)");
});
afterAll(() => test[Symbol.asyncDispose]());

const fence = { bucketId: "0", groupNumber: 0, epoch: 0, claimToken: "00000000-0000-0000-0000-000000000000" };
const record = {
  fence,
  dueDay: "2000-01-01",
  chunkNumber: 0,
  part: 0,
  indexes: null,
  codes: new Uint8Array(),
  afterDueMs: [],
  tally: { delivered: 0, failed: 0, suppressed: 0, expired: 0, inDoubts: 0 },
  leaseMs: 0,
  exceptions: null,
};

const statements: Record<string, (executor: Executor) => Promise<unknown>> = {
  intendMany: (executor) => intendMany(executor, [{ fence, chunkNumber: 0, limit: 1, leaseMs: 0 }]),
  recordMany: (executor) => recordMany(executor, [record]),
  settleGroups: (executor) => settleGroups(executor, [fence]),
  settleGroup: (executor) => settleGroup(executor, fence),
  closeBuckets: (executor) => closeBuckets(executor, ["0"]),
  closeBucket: (executor) => closeBucket(executor, "0"),
};
const large = ["groups", "time_buckets", "schedules", "subscriptions", "endpoints", "mutes", "deferred"];

it.each(Object.keys(statements))(
  "%s looks up what it reads, though it was planned when all was empty",
  async (name) => {
    await using planning = openDatabase({ url: test.url, applicationName: "plans", max: 1, genericPlans: true });
    const client = await planning.pool.connect();
    try {
      let asked: { text: string; values: readonly unknown[] } | undefined;
      const spy = {
        query: (statement: { text: string; values: readonly unknown[] }) => {
          asked = statement;
          return Promise.resolve({ rows: [] });
        },
      };
      await statements[name]?.(spy as unknown as Executor);
      if (asked === undefined) throw new Error("nothing was asked");
      await client.query(`prepare asked as ${asked.text}`);
      const nulls = asked.values.map(() => "null").join(", ");
      const { rows } = await client.query<{ "QUERY PLAN": [{ Plan: PlanNode }] }>(
        `explain (format json) execute asked(${nulls})`,
      );
      const plan = rows[0]?.["QUERY PLAN"][0].Plan;
      if (plan === undefined) throw new Error("no plan");
      const reads = nodesOf(plan).filter((node) => large.includes(node["Relation Name"] ?? "") && !isWrite(node));
      expect(reads.length).toBeGreaterThan(0);
      expect(reads.filter((node) => node["Index Cond"] === undefined && !isOneLook(node))).toEqual([]);
    } finally {
      client.release(true);
    }
  },
);

function nodesOf(plan: PlanNode): PlanNode[] {
  return [plan, ...(plan.Plans ?? []).flatMap(nodesOf)];
}

/** Whether there is any row at all (EXISTS): it ends with the first, and is asked once a statement. */
function isOneLook(node: PlanNode): boolean {
  return node["Relation Name"] === "mutes" && /^InitPlan/.test(node["Subplan Name"] ?? "");
}

function isWrite(node: PlanNode): boolean {
  return "Operation" in node;
}
