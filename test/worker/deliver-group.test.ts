import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Delivery, Outcome } from "../../src/channels/channel.ts";
import { createMemoryChannel } from "../../src/channels/memory.ts";
import { monotonicMs } from "../../src/clock.ts";
import { cancelBucket, pauseTopic } from "../../src/store/halt.ts";
import { openIntents } from "../../src/store/invariants.ts";
import { unresolvedMembers } from "../../src/store/outcome.ts";
import type { WorkerContext } from "../../src/worker/context.ts";
import { deliverGroup } from "../../src/worker/deliver-group.ts";
import { HeldGroup } from "../../src/worker/held-group.ts";
import { PgClock } from "../../src/worker/pg-clock.ts";
import { Window } from "../../src/worker/window.ts";
import { createEngine, type Engine, intendSurely, type SeededMoment } from "../support/engine.ts";
import { checkInvariants } from "../support/invariants.ts";
import { createGate } from "../support/stories.ts";
import { until } from "../support/world.ts";
import { announcing, heldGroup, losingReplies, realTime, workerContext } from "./worker-context.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine({ max: 20 });
});
afterAll(() => engine[Symbol.asyncDispose]());

/** What was sent, and a worker that sends there. */
async function receiving(
  outcomeOf: (delivery: Delivery) => Outcome | Promise<Outcome> = () => ({ kind: "accepted" }),
  changed: Partial<WorkerContext> = {},
) {
  const sent: Delivery[] = [];
  const channel = createMemoryChannel({
    outcomeOf: (delivery) => {
      sent.push(delivery);
      return outcomeOf(delivery);
    },
  });
  const worker = await workerContext(engine, { channels: new Map([["memory", channel]]), ...changed });
  return { sent, worker };
}
const statesOf = async ({ bucketId }: SeededMoment) =>
  Object.fromEntries(
    (
      await engine.rows<{ state: string; members: number }>(
        `select coalesce(o.state || ': ' || o.reason, 'none') as state, count(*)::int as members
         from carillon.chunk_members m left join carillon.outcome_codes o using (code)
         where m.bucket_id = $1 group by 1 order by 1`,
        [bucketId],
      )
    ).map(({ state, members }) => [state, members]),
  );
const bucketOf = ({ bucketId }: SeededMoment) =>
  engine.one<{ closed_as: string | null }>("select closed_as from carillon.time_buckets where bucket_id = $1", [
    bucketId,
  ]);
const check = ({ bucketId }: SeededMoment, faults: { kills?: number; window?: number; once?: boolean } = {}) =>
  checkInvariants({
    db: engine.db,
    receiverLog: null,
    window: faults.window ?? 100,
    mode: faults.once === true ? "at_most_once" : "at_least_once",
    kills: faults.kills ?? 0,
    expected: { bucketId, users: [] },
  });
const idsOf = (moment: SeededMoment) => moment.users.map((user) => `${user.userId}#1`);

describe("deliverGroup", () => {
  it("delivers everybody once, in firing order, sets the end mark and closes the bucket", async () => {
    const moment = await engine.moment({ users: 60 });
    const { sent, worker } = await receiving();
    expect(await deliverGroup(worker, heldGroup(await engine.claim(moment)))).toBe("finished");
    expect(sent.map((delivery) => delivery.address)).toEqual(idsOf(moment));
    expect(new Set(sent.map((delivery) => delivery.deliveryId)).size).toBe(60);
    expect(await statesOf(moment)).toEqual({ "delivered: accepted": 60 });
    expect((await bucketOf(moment)).closed_as).toBe("done");
    expect(worker.windows.at_least_once.taken).toBe(0);
    expect(worker.heartbeat.held).toBe(0);
    await check(moment);
  });

  it("has the intent of each delivery committed before its first byte", async () => {
    const moment = await engine.moment({ users: 40 });
    const numbers = new Map(moment.users.map((user) => [`${user.userId}#1`, user.userNumber]));
    let without = 0;
    const { sent, worker } = await receiving(async ({ address }) => {
      // another connection sees what is committed, and nothing else
      const seen = await engine.rows("select from carillon.chunks where bucket_id = $1 and $2 = any (user_numbers)", [
        moment.bucketId,
        numbers.get(address),
      ]);
      if (seen.length !== 1) without += 1;
      return { kind: "accepted" };
    });
    await deliverGroup(worker, heldGroup(await engine.claim(moment)));
    expect(sent).toHaveLength(40);
    expect(without).toBe(0);
    await check(moment);
  });

  it.each(["at_least_once", "at_most_once"] as const)(
    "%s: never has more than its window without outcome, all groups together",
    async (mode) => {
      const moment = await engine.moment({ users: 120, groups: 4, mode });
      let most = 0;
      const windows = { at_least_once: new Window(16), at_most_once: new Window(8) };
      const { sent, worker } = await receiving(
        async () => {
          const open = (await openIntents(engine.db, [moment.bucketId])).reduce(
            (sum, each) => sum + each.deliveries,
            0,
          );
          most = Math.max(most, open);
          return { kind: "accepted" };
        },
        { windows },
      );
      const groups = await Promise.all([0, 1, 2, 3].map((number) => engine.claim(moment, number)));
      await Promise.all(groups.map((group) => deliverGroup(worker, heldGroup(group))));
      expect(sent).toHaveLength(120);
      expect(most).toBeLessThanOrEqual(windows[mode].size);
      expect(most).toBeGreaterThan(windows[mode].size / 4);
      expect(windows.at_least_once.taken + windows.at_most_once.taken).toBe(0);
      await check(moment, { window: windows[mode].size, once: mode === "at_most_once" });
    },
  );

  it("keeps to its window though every user has as many endpoints as one may have", async () => {
    const moment = await engine.moment({ users: 16, groups: 4, endpoints: 20, mode: "at_most_once" });
    const windows = { at_least_once: new Window(50), at_most_once: new Window(50) };
    const unanswered: (() => void)[] = [];
    let most = 0;
    const { sent, worker } = await receiving(
      () => {
        most = Math.max(most, windows.at_most_once.taken);
        return new Promise((resolve) => unanswered.push(() => resolve({ kind: "accepted" })));
      },
      { windows, chunk: 50 },
    );
    const groups = await Promise.all([0, 1, 2, 3].map((number) => engine.claim(moment, number)));
    const delivering = Promise.all(groups.map((group) => deliverGroup(worker, heldGroup(group))));
    // answers come five at a time, so that there is less room than a user needs, but a quarter of the window
    for (let answered = 0; answered < 320; answered += 5) {
      // room is accounted for by what was sent: no intent is on its way
      await until(() => windows.at_most_once.taken === sent.length - answered && unanswered.length >= 5, "sends");
      for (const answer of unanswered.splice(0, 5)) answer();
      await until(() => windows.at_most_once.taken !== sent.length - answered, "the record of five answers");
    }
    await delivering;
    expect(sent).toHaveLength(320);
    expect(most).toBeLessThanOrEqual(50);
    expect(windows.at_most_once.taken).toBe(0);
    await check(moment, { window: 50, once: true });
  });

  it("gives no room back before the outcomes that free it are recorded", async () => {
    const moment = await engine.moment({ users: 40, groups: 2 });
    const statements: string[] = [];
    let atFirstRecord: readonly string[] | undefined;
    const db = announcing(engine.db, async (statement) => {
      statements.push(statement);
      if (statement !== "record_outcomes" || atFirstRecord !== undefined) return;
      // whoever got room by now has had every chance to ask for an intent
      for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      atFirstRecord = [...statements];
    });
    const { sent, worker } = await receiving(undefined, {
      db,
      chunk: 10,
      windows: { at_least_once: new Window(10), at_most_once: new Window(10) },
    });
    const groups = await Promise.all([0, 1].map((number) => engine.claim(moment, number)));
    await Promise.all(groups.map((group) => deliverGroup(worker, heldGroup(group))));
    expect(atFirstRecord?.filter((statement) => statement === "intend")).toHaveLength(1);
    expect(sent).toHaveLength(40);
  });

  it("overdraws the window for one user with more endpoints than that, and gives all of it back", async () => {
    const moment = await engine.moment({ users: 3, endpoints: 6 });
    const { sent, worker } = await receiving(undefined, {
      windows: { at_least_once: new Window(4), at_most_once: new Window(4) },
    });
    expect(await deliverGroup(worker, heldGroup(await engine.claim(moment)))).toBe("finished");
    expect(sent).toHaveLength(18);
    expect(worker.windows.at_least_once.taken).toBe(0);
    await check(moment);
  });

  it("waits for the moment by Postgres' clock, though its own timer runs ahead", async () => {
    const moment = await engine.moment({ users: 3, dueInMs: 700 });
    let early = 0;
    const clock = new PgClock();
    await clock.sample(async () => realTime(moment.dueAtMs + 5000));
    const { sent, worker } = await receiving(
      async () => {
        const past = await engine.rows("select where carillon.clock() >= to_timestamp($1::float8 / 1000)", [
          moment.dueAtMs,
        ]);
        if (past.length === 0) early += 1;
        return { kind: "accepted" };
      },
      { clock },
    );
    expect(await deliverGroup(worker, heldGroup(await engine.claim(moment)))).toBe("finished");
    expect(sent).toHaveLength(3);
    expect(early).toBe(0);
    await check(moment);
  });

  it("sends nothing whose timeout its lease would not outlive", async () => {
    const moment = await engine.moment({ users: 5, dueInMs: -100, expiresAfterMs: 1000 });
    const { sent, worker } = await receiving(undefined, { leaseMs: 1000, sendTimeoutMs: 1000 });
    for (let end = ""; end !== "finished"; ) {
      end = await deliverGroup(worker, new HeldGroup(await engine.claim(moment), monotonicMs() + 1000));
    }
    expect(sent).toEqual([]);
    const states = await statesOf(moment);
    expect(states["expired: expired"]).toBe(5);
    await check(moment);
  });

  it("sends nothing after the expiry, though its intent stands", async () => {
    const moment = await engine.moment({ users: 5 });
    const clock = new PgClock();
    await clock.sample(async () => realTime(moment.dueAtMs + 600_000));
    const { sent, worker } = await receiving(undefined, { clock });
    await deliverGroup(worker, heldGroup(await engine.claim(moment)));
    expect(sent).toEqual([]);
    expect(await statesOf(moment)).toEqual({ "expired: expired": 5 });
    await check(moment);
  });

  it("records as expired what is left at the expiry", async () => {
    const moment = await engine.moment({ users: 8, dueInMs: -5000, expiresAfterMs: 1000 });
    const { sent, worker } = await receiving();
    expect(await deliverGroup(worker, heldGroup(await engine.claim(moment)))).toBe("finished");
    expect(sent).toEqual([]);
    expect(await statesOf(moment)).toEqual({ "expired: expired": 8 });
    await check(moment);
  });

  it("gives a halted group back without a word of fault, and records what it had sent", async () => {
    const moment = await engine.moment({ users: 60 });
    const gate = createGate();
    const { sent, worker } = await receiving(async () => {
      await gate.pass();
      return { kind: "accepted" };
    });
    const delivering = deliverGroup(
      { ...worker, chunk: 5, windows: { ...worker.windows, at_least_once: new Window(5) } },
      heldGroup(await engine.claim(moment)),
    );
    await gate.reached;
    await pauseTopic(engine.db, moment.topicId);
    gate.open();
    expect(await delivering).toBe("released");
    expect(await statesOf(moment)).toEqual({ "delivered: accepted": sent.length });
    expect(await engine.group(moment)).toMatchObject({ last_fault: null, takeovers: 0, claim_token: null });
  });

  it("records the rest as cancelled when the moment is cancelled meanwhile", async () => {
    const moment = await engine.moment({ users: 60 });
    const gate = createGate();
    const { sent, worker } = await receiving(async () => {
      await gate.pass();
      return { kind: "accepted" };
    });
    const delivering = deliverGroup(
      { ...worker, windows: { ...worker.windows, at_least_once: new Window(5) } },
      heldGroup(await engine.claim(moment)),
    );
    await gate.reached;
    await cancelBucket(engine.db, moment.bucketId);
    gate.open();
    expect(await delivering).toBe("finished");
    expect(await statesOf(moment)).toEqual({
      "cancelled: cancelled": 60 - sent.length,
      "delivered: accepted": sent.length,
    });
    await check(moment);
  });

  it("begins nothing new while the worker drains, lets end what is under way, and gives the group back", async () => {
    const moment = await engine.moment({ users: 60 });
    const gate = createGate();
    const draining = new AbortController();
    const { sent, worker } = await receiving(
      async () => {
        await gate.pass();
        return { kind: "accepted" };
      },
      { draining: draining.signal, windows: { at_least_once: new Window(10), at_most_once: new Window(10) } },
    );
    const delivering = deliverGroup(worker, heldGroup(await engine.claim(moment)));
    await gate.reached;
    draining.abort(new Error("stopping"));
    const begun = sent.length;
    gate.open();
    expect(await delivering).toBe("released");
    expect(sent.length).toBe(begun);
    const states = await statesOf(moment);
    expect(states["delivered: accepted"]).toBe(begun);
    expect(states.none).toBeUndefined();
    expect(await engine.group(moment)).toMatchObject({ claim_token: null, finished_at: null, last_fault: null });
    // the next worker sends the rest
    const next = await receiving();
    expect(await deliverGroup(next.worker, heldGroup(await engine.claim(moment)))).toBe("finished");
    expect([...sent, ...next.sent].map((delivery) => delivery.address).toSorted()).toEqual(idsOf(moment).toSorted());
    await check(moment);
  });

  it("gives a group back that can't be delivered, with a back-off and its fault", async () => {
    const moment = await engine.moment({ users: 4 });
    await engine.rows("alter table carillon.subscriptions rename to away");
    const { sent, worker } = await receiving();
    try {
      expect(await deliverGroup(worker, heldGroup(await engine.claim(moment)))).toBe("released");
    } finally {
      await engine.rows("alter table carillon.away rename to subscriptions");
    }
    const row = await engine.group(moment);
    expect(row.last_fault).toContain("does not exist");
    expect(row).toMatchObject({ takeovers: 1 });
    expect(row.waits_ms).toBeGreaterThan(0);
    expect(sent).toEqual([]);
  });

  it("stops at once when it has lost the group, and what it still had under way is refused", async () => {
    const moment = await engine.moment({ users: 60 });
    const gate = createGate();
    const { sent, worker } = await receiving(
      async () => {
        await gate.pass();
        return { kind: "accepted" };
      },
      { windows: { at_least_once: new Window(10), at_most_once: new Window(10) } },
    );
    const held = heldGroup(await engine.claim(moment));
    const delivering = deliverGroup(worker, held);
    await gate.reached;
    await engine.endLease(held.group);
    const owner = await engine.claim(moment);
    gate.open();
    expect(await delivering).toBe("lost");
    expect(sent).toHaveLength(10);
    expect(await unresolvedMembers(engine.db.pool, owner, owner.dueDay)).toHaveLength(10);
    expect(await engine.group(moment)).toMatchObject({ delivered: 0, epoch: 2, claim_token: owner.claimToken });
    expect(worker.windows.at_least_once.taken).toBe(0);
  });
});

describe("what a lost owner left in doubt", () => {
  async function abandoned(mode: "at_least_once" | "at_most_once") {
    const moment = await engine.moment({ users: 12, mode });
    const lost = await engine.claim(moment);
    await intendSurely(engine.db.pool, lost, { limit: 5 });
    await engine.endLease(lost);
    return moment;
  }

  it("is sent again under an intent of its own where it may come twice, and stays on record", async () => {
    const moment = await abandoned("at_least_once");
    const { sent, worker } = await receiving();
    expect(await deliverGroup(worker, heldGroup(await engine.claim(moment)))).toBe("finished");
    expect(sent.map((delivery) => delivery.address).toSorted()).toEqual(idsOf(moment).toSorted());
    expect(sent.filter((delivery) => delivery.attempt === 1)).toHaveLength(5);
    expect(await statesOf(moment)).toEqual({ "deferred: in doubt": 5, "delivered: accepted": 12 });
    expect(await engine.group(moment)).toMatchObject({ in_doubts: 5, delivered: 12, failed: 0 });
    await check(moment, { kills: 1 });
  });

  it("is not sent again where it may not, and is recorded as failed", async () => {
    const moment = await abandoned("at_most_once");
    const { sent, worker } = await receiving();
    expect(await deliverGroup(worker, heldGroup(await engine.claim(moment)))).toBe("finished");
    expect(sent.map((delivery) => delivery.address)).toEqual(idsOf(moment).slice(5));
    expect(await statesOf(moment)).toEqual({ "delivered: accepted": 7, "failed: in doubt": 5 });
    await check(moment, { kills: 1, once: true });
  });

  it("is not sent again to whoever was erased since", async () => {
    const moment = await abandoned("at_least_once");
    await engine.rows("delete from carillon.users where user_number = $1", [moment.users[2]?.userNumber]);
    const { sent, worker } = await receiving();
    expect(await deliverGroup(worker, heldGroup(await engine.claim(moment)))).toBe("finished");
    expect(sent).toHaveLength(11);
    expect(await statesOf(moment)).toMatchObject({ "failed: in doubt": 1, "deferred: in doubt": 4 });
  });
});

describe("a lost reply", () => {
  it.each([
    ["intend", 1],
    ["intend", 3],
    ["record_outcomes", 2],
    ["record_outcomes_and_exceptions", 2],
    ["intend_deferred", 1],
    ["settle_group", 1],
    ["close_bucket", 1],
    ["why_refused", 1],
  ])("of %s, %i times: everybody once all the same, and nothing is counted twice", async (statement, times) => {
    const moment = await engine.moment({ users: 120, dueInMs: statement === "why_refused" ? 400 : -1000 });
    const failedOnce = new Set<string>();
    const network = losingReplies(engine.db, statement, times);
    const clock = new PgClock();
    await clock.sample(async () => realTime(moment.dueAtMs + 2000));
    const { sent, worker } = await receiving(
      ({ address, attempt }) => {
        const index = moment.users.findIndex((user) => `${user.userId}#1` === address);
        if (index > 3 || attempt > 0) return { kind: "accepted" };
        failedOnce.add(address);
        return { kind: "retry", reason: "busy", status: 503 };
      },
      { db: network.db, clock },
    );
    // released where a next try came too late to be waited for; an end mark whose reply was lost looks like a lost group
    for (let end = ""; end !== "finished" && (await engine.group(moment)).finished_at === null; ) {
      end = await deliverGroup(worker, heldGroup(await engine.claim(moment)));
    }
    expect(network.lost()).toBe(times);
    expect(sent.map((delivery) => delivery.address).toSorted()).toEqual([...idsOf(moment), ...failedOnce].toSorted());
    expect(await engine.group(moment)).toMatchObject({ delivered: 120, in_doubts: 0, intended: 120 });
    expect((await engine.group(moment)).finished_at).not.toBeNull();
    await check(moment);
  });
});

it("a channel that this node has not waits, and leaves the others alone", async () => {
  const moment = await engine.moment({ users: 6 });
  await engine.rows(
    `with app as (
       insert into carillon.destinations (name, url, sealed_secrets, channel)
       values ('app', 'https://fcm.example', array[''::bytea], 'fcm') returning destination_id
     )
     update carillon.endpoints set channel = 'fcm', destination_id = (select destination_id from app)
     where user_number = $1`,
    [moment.users[0]?.userNumber],
  );
  const { sent, worker } = await receiving();
  expect(await deliverGroup(worker, heldGroup(await engine.claim(moment)))).toBe("released");
  expect(sent).toHaveLength(5);
  expect((await engine.group(moment)).waits_ms).toBeGreaterThan(5000);
  expect(await engine.rows("select reason from carillon.deferred where bucket_id = $1", [moment.bucketId])).toEqual([
    { reason: "this node has no channel fcm" },
  ]);
});

it("never asks for a next try before Retry-After", async () => {
  const moment = await engine.moment({ users: 3 });
  const { worker } = await receiving(() => ({
    kind: "retry",
    reason: "slow down",
    status: 429,
    retryAfterMs: 120_000,
  }));
  expect(await deliverGroup(worker, heldGroup(await engine.claim(moment)))).toBe("released");
  expect((await engine.group(moment)).waits_ms).toBeGreaterThan(60_000);
  expect(await engine.rows("select from carillon.deferred where bucket_id = $1", [moment.bucketId])).toHaveLength(3);
});
