import { readFileSync } from "node:fs";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createDestination, patchDestination } from "../../src/store/destinations.ts";
import { readListener, removeListener, setListener } from "../../src/store/event-listeners.ts";
import {
  type ClaimedEvent,
  claimEvents,
  dueListeners,
  type EventKind,
  eventKinds,
  expireEvents,
  finishEvents,
  gatherFacts,
  putOffEvents,
  putOffListener,
  welcomeListener,
} from "../../src/store/events.ts";
import { cancelBucket } from "../../src/store/halt.ts";
import { goneAtOnce, parkAfterTakeovers, recordOutcomes } from "../../src/store/outcome.ts";
import { markStopped } from "../../src/store/outlets.ts";
import { sweep } from "../../src/store/rescue.ts";
import { closeBucket, closeBuckets, settleGroup } from "../../src/store/settle.ts";
import {
  createEngine,
  deferAll,
  type Engine,
  intendDeferredSurely,
  intendSurely,
  recordOf,
} from "../support/engine.ts";
import { until } from "../support/world.ts";

let engine: Engine;
let listener: number;
const name = "listener";
beforeAll(async () => {
  engine = await createEngine();
  const made = await createDestination(
    engine.db,
    { channel: "webhook", name, url: "https://listener.example/", batchSize: 1 },
    new Uint8Array(32),
  );
  listener = made.destination.destinationId;
});
afterAll(() => engine[Symbol.asyncDispose]());
beforeEach(() => removeListener(engine.db, name));

const listenTo = (...kinds: EventKind[]) => setListener(engine.db, name, kinds);
const count = async () =>
  (await engine.one<{ events: number }>("select count(*)::int as events from carillon.events")).events;

async function claimAll(leaseMs = 60_000): Promise<readonly ClaimedEvent[]> {
  while (await gatherFacts(engine.db));
  return claimEvents(engine.db.pool, listener, { limit: 100, leaseMs });
}

/** A group of one chunk that was sent and of which nothing is recorded. */
async function sent(users = 4, endpoints = 1) {
  const moment = await engine.moment({ users, endpoints });
  const group = await engine.claim(moment);
  const chunk = await intendSurely(engine.db.pool, group, { limit: 1000 });
  return { moment, group, chunk };
}
type Sent = Awaited<ReturnType<typeof sent>>;

/** All of it is answered with a 410. */
const goneAll = ({ group, chunk }: Sent) =>
  recordOutcomes(
    engine.db.pool,
    recordOf(group, chunk, {
      code: 11,
      exceptions: { gone: chunk.members.map((each) => ({ ...each, reason: "unregistered", sinceMs: null })) },
    }),
  );

async function finished() {
  const done = await sent();
  await recordOutcomes(engine.db.pool, recordOf(done.group, done.chunk));
  expect(await settleGroup(engine.db.pool, done.group)).toBe(true);
  return done;
}

/** Its owners were lost with it, again and again. */
async function parked() {
  const { moment, group, chunk } = await sent(3);
  const lost = { inDoubt: true, takenOver: true };
  await deferAll(engine.db.pool, group, chunk, lost);
  for (let takeovers = 2; takeovers <= parkAfterTakeovers; takeovers += 1) {
    const again = await intendDeferredSurely(engine.db.pool, group, { chunkNumber: takeovers - 1 });
    await deferAll(engine.db.pool, group, again, lost);
  }
  return moment;
}

describe("an event is written by what it tells of", () => {
  it("and not where nobody listens, or not to that", async () => {
    await listenTo("chunk.parked");
    await goneAll(await sent());
    await closeBucket(engine.db.pool, (await finished()).moment.bucketId);
    await markStopped(engine.db.pool, listener, "answered 401");
    await markStopped(engine.db.pool, listener, null);
    expect(await count()).toBe(0);
    await removeListener(engine.db, name);
    await parked();
    expect(await count()).toBe(0);
  });

  it("endpoint.gone: together with the outcome, by the users' own ids", async () => {
    await listenTo("endpoint.gone");
    const there = await sent(2, 2);
    expect(await goneAll({ ...there, group: { ...there.group, epoch: 99 } })).toBe(false);
    expect(await count()).toBe(0);
    expect(await goneAll(there)).toBe(true);
    const [event, ...others] = await claimAll();
    expect(others).toEqual([]);
    expect(event).toMatchObject({ kind: "endpoint.gone", attempt: 0, at: expect.any(Date) });
    const users = there.moment.users.map(({ userId }) => userId).sort();
    expect(event?.data).toEqual({
      endpoints: users.flatMap((user) =>
        [1, 2].map((ordinal) => ({ user, ordinal, channel: "memory", destination: null, reason: "unregistered" })),
      ),
    });
  });

  it("endpoint.gone: so many at a time, each of them once", async () => {
    await listenTo("endpoint.gone");
    const there = await sent(30, 20);
    expect(await goneAll(there)).toBe(true);
    const events = await claimAll();
    const told = events.map(({ data }) => (data as { endpoints: { user: string; ordinal: number }[] }).endpoints);
    expect(told.map(({ length }) => length).sort((a, b) => b - a)).toEqual([goneAtOnce, 100]);
    expect(new Set(told.flat().map(({ user, ordinal }) => `${user} ${ordinal}`)).size).toBe(600);
  });

  it("endpoint.gone: without those who were erased meanwhile", async () => {
    await listenTo("endpoint.gone");
    const there = await sent(2);
    await goneAll(there);
    const [erased, left] = there.moment.users;
    const erase = (userNumber: string | undefined) =>
      engine.rows("delete from carillon.users where user_number = $1", [userNumber]);
    await erase(erased?.userNumber);
    expect((await claimAll(0))[0]?.data).toEqual({ endpoints: [expect.objectContaining({ user: left?.userId })] });
    await erase(left?.userNumber);
    expect((await claimAll())[0]?.data).toBeNull();
  });

  it("chunk.parked: once, when it is", async () => {
    await listenTo("chunk.parked");
    const moment = await parked();
    const events = await claimAll();
    expect(events.map(({ data }) => data)).toEqual([
      {
        bucket: moment.bucketId,
        topic: expect.stringMatching(/^topic-/),
        dueAt: new Date(moment.dueAtMs).toISOString(),
        expiresAt: new Date(moment.dueAtMs + 600_000).toISOString(),
        group: 0,
        chunk: parkAfterTakeovers - 1,
        deliveries: 3,
        reason: "try again",
      },
    ]);
  });

  it("channel.stopped and channel.resumed: once, whoever says it", async () => {
    await listenTo("channel.stopped", "channel.resumed");
    for (const reason of ["answered 401", "answered 403"]) await markStopped(engine.db.pool, listener, reason);
    for (let time = 0; time < 2; time += 1) await markStopped(engine.db.pool, listener, null);
    const events = await claimAll();
    const about = {
      destination: name,
      channel: "webhook",
      reason: "answered 401",
      stoppedAt: expect.stringMatching(/Z$/),
    };
    expect(events.map(({ kind, data }) => ({ kind, data }))).toEqual([
      { kind: "channel.stopped", data: about },
      { kind: "channel.resumed", data: about },
    ]);
  });

  it("bucket.closed: once, whatever closes it, with its counts and lateness", async () => {
    await listenTo("bucket.closed");
    const one = (await finished()).moment;
    expect(await closeBucket(engine.db.pool, one.bucketId)).toBe(true);
    expect(await closeBucket(engine.db.pool, one.bucketId)).toBe(false);
    const many = (await finished()).moment;
    expect(await closeBuckets(engine.db.pool, [many.bucketId, one.bucketId])).toEqual([true, false]);
    const swept = (await finished()).moment;
    await sweep(engine.db.pool, { leadMs: 1000, limit: 10 });
    const cancelled = await engine.moment();
    await cancelBucket(engine.db, cancelled.bucketId);

    const events = await claimAll();
    const done = (moment: typeof one) => ({
      bucket: moment.bucketId,
      topic: expect.stringMatching(/^topic-/),
      schedule: moment.scheduleId,
      occurrence: "once",
      dueAt: new Date(moment.dueAtMs).toISOString(),
      state: "done",
      counts: { delivered: 4, failed: 0, suppressed: 0, expired: 0, cancelled: 0, inDoubt: 0 },
      latenessMs: { p50: 5, p99: 5, max: 5 },
    });
    const byBucket = (data: unknown) => Number((data as { bucket: string }).bucket);
    expect(events.map(({ data }) => data).sort((a, b) => byBucket(a) - byBucket(b))).toEqual([
      done(one),
      done(many),
      done(swept),
      expect.objectContaining({ bucket: cancelled.bucketId, state: "cancelled", latenessMs: null }),
    ]);
  });

  it("bucket.closed: not sent before its facts are gathered, which holds up no other event", async () => {
    await listenTo("bucket.closed", "endpoint.gone");
    await closeBucket(engine.db.pool, (await finished()).moment.bucketId);
    expect(await dueListeners(engine.db.pool)).toEqual([]);
    await goneAll(await sent());
    const claimed = await claimEvents(engine.db.pool, listener, { limit: 10, leaseMs: 60_000 });
    expect(claimed.map(({ kind }) => kind)).toEqual(["endpoint.gone"]);
    await using other = await engine.begin();
    await other.client.query("select from carillon.events where next_try_at = 'infinity' for update");
    // another node gathers them just now
    expect(await gatherFacts(engine.db)).toBe(false);
    await other.commit();
    expect(await gatherFacts(engine.db)).toBe(true);
    expect(await gatherFacts(engine.db)).toBe(false);
  });
});

it("gathering facts is ended when its node stops", async () => {
  await listenTo("bucket.closed");
  await closeBucket(engine.db.pool, (await finished()).moment.bucketId);
  const stopping = new AbortController();
  await using other = await engine.begin();
  await other.client.query("lock table carillon.outcomes in access exclusive mode");
  const gathering = gatherFacts(engine.db, stopping.signal);
  await until(
    async () =>
      (
        await engine.rows(
          "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
        )
      ).length === 1,
    "it waits to read the outcomes",
  );
  stopping.abort();
  // cancelled, and not timed out
  await expect(gathering).rejects.toMatchObject({ code: "57014" });
  await other.commit();
  expect(await gatherFacts(engine.db)).toBe(true);
});

describe("an event that is being sent", () => {
  const claim = (limit = 10, leaseMs = 60_000) => claimEvents(engine.db.pool, listener, { limit, leaseMs });
  beforeEach(async () => {
    await listenTo("endpoint.gone");
    await goneAll(await sent());
    await goneAll(await sent());
  });

  it("is one sender's", async () => {
    const claims = await Promise.all([claim(1), claim(1), claim(1)]);
    expect(claims.flat().map(({ eventId }) => eventId)).toHaveLength(2);
    expect(new Set(claims.flat().map(({ eventId }) => eventId)).size).toBe(2);
    expect(await dueListeners(engine.db.pool)).toEqual([]);
  });

  it("is taken again, with the same id, when its sender says nothing for a lease", async () => {
    const first = await claim(10, 0);
    const second = await claim();
    expect(second.map(({ eventId }) => eventId).sort()).toEqual(first.map(({ eventId }) => eventId).sort());
    expect(second.map(({ attempt }) => attempt)).toEqual([1, 1]);
    const putOff = first.map(({ eventId, attempt }) => ({ eventId, attempt, waitMs: 0, fault: "too late" }));
    await putOffEvents(engine.db.pool, putOff);
    // refused: both are somebody else's now
    expect(await claim()).toEqual([]);
    await finishEvents(
      engine.db.pool,
      first.map(({ eventId }) => eventId),
    );
    expect(await count()).toBe(0);
  });

  it("comes again when it was not taken, and not sooner than it should", async () => {
    const [now, later] = await claim();
    if (now === undefined || later === undefined) throw new Error("not claimed");
    await putOffEvents(engine.db.pool, [
      { ...now, waitMs: 0, fault: "answered 500" },
      { ...later, waitMs: 60_000, fault: "answered 503" },
    ]);
    expect(await claim()).toEqual([{ ...now, attempt: 1 }]);
    expect(await readListener(engine.db.pool, name)).toMatchObject({
      waiting: 2,
      fault: expect.stringMatching(/^answered/),
    });
  });

  it("has burned no attempt when it was not tried", async () => {
    const [one] = await claim(1);
    if (one === undefined) throw new Error("not claimed");
    await putOffEvents(engine.db.pool, [{ ...one, waitMs: 0, fault: null }]);
    expect(await claim()).toContainEqual(one);
  });

  it("is not sent to who takes nothing, or is disabled", async () => {
    const due = () => dueListeners(engine.db.pool);
    expect(await due()).toEqual([{ destinationId: listener, failures: 0 }]);
    await putOffListener(engine.db.pool, listener, 60_000);
    // whoever found it due before that finds nothing of it any more
    expect(await claimEvents(engine.db.pool, listener, { limit: 10, leaseMs: 60_000 })).toEqual([]);
    expect(await due()).toEqual([]);
    await putOffListener(engine.db.pool, listener, 0);
    expect(await due()).toEqual([{ destinationId: listener, failures: 2 }]);
    await welcomeListener(engine.db.pool, listener);
    expect(await due()).toEqual([{ destinationId: listener, failures: 0 }]);
    await patchDestination(engine.db, name, { disabled: true }, null);
    expect(await due()).toEqual([]);
    await patchDestination(engine.db, name, { disabled: false }, null);
    expect(await due()).toHaveLength(1);
  });

  it("goes when its listener goes, listens to other things, or does not take it for three days", async () => {
    await listenTo("bucket.closed", "endpoint.gone");
    expect(await count()).toBe(2);
    await listenTo("bucket.closed");
    expect(await count()).toBe(0);
    await listenTo("endpoint.gone");
    await goneAll(await sent());
    expect(await expireEvents(engine.db.pool)).toBe(0);
    await engine.rows("update carillon.events set at = at - interval '3 days'");
    expect(await expireEvents(engine.db.pool)).toBe(1);
    await goneAll(await sent());
    await engine.rows("delete from carillon.event_listeners");
    expect(await expireEvents(engine.db.pool)).toBe(1);
    await expect(readListener(engine.db.pool, name)).rejects.toMatchObject({ code: "not_found" });
  });
});

it("kinds are the same in the table and in the program", async () => {
  const { text } = await engine.one<{ text: string }>(
    "select pg_get_constraintdef(oid) as text from pg_constraint where conname = 'event_listeners_kinds_check'",
  );
  expect([...text.matchAll(/'([a-z.]+)'/g)].map(([, kind]) => kind)).toEqual([...eventKinds]);
});

describe("docs/events.md", () => {
  it("shows each event as it is told", async () => {
    const page = readFileSync(new URL("../../docs/events.md", import.meta.url), "utf8");
    const shown = [...page.matchAll(/^```json\n([\s\S]*?)^```$/gm)].map(([, text = ""]) => JSON.parse(text));
    await listenTo(...eventKinds);
    const there = await sent(1);
    await engine.rows("update carillon.endpoints set channel = 'webhook', destination_id = $1 where user_number = $2", [
      listener,
      there.moment.users[0]?.userNumber,
    ]);
    await goneAll(there);
    await closeBucket(engine.db.pool, (await finished()).moment.bucketId);
    await parked();
    await markStopped(engine.db.pool, listener, "answered 401");
    await markStopped(engine.db.pool, listener, null);
    const told = new Map(
      (await claimAll()).map(({ kind, data, at }) => [kind, { type: kind, timestamp: at.toISOString(), data }]),
    );
    expect(shown.map(({ type }) => type).sort()).toEqual([...eventKinds].sort());
    for (const example of shown) expect(shapeOf(example), example.type).toEqual(shapeOf(told.get(example.type)));
  });
});

/** Names and types all the way down; an instant has milliseconds. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return [shapeOf(value[0])];
  if (typeof value === "string") return /^\d{4}-\d\d-\d\dT[\d:]+\.\d{3}Z$/.test(value) ? "instant" : "text";
  if (typeof value !== "object" || value === null) return typeof value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, shapeOf(member)]));
}
