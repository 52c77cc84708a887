import { randomBytes } from "node:crypto";
import { expect } from "vitest";
import { sleep } from "../../src/clock.ts";
import type { ReceivedReminder } from "../../src/fakes/receiver-log.ts";
import {
  startWebhookReceiver,
  type WebhookReceiver,
  type WebhookReceiverOptions,
} from "../../src/fakes/webhook-receiver.ts";
import { finalStates } from "../../src/reminder/outcome-code.ts";
import { type Database, isTransient, openDatabase } from "../../src/store/database.ts";
import { createDestination } from "../../src/store/destinations.ts";
import { saveEndpoints } from "../../src/store/endpoints.ts";
import { inDoubtCount, openIntents } from "../../src/store/invariants.ts";
import { bucketOf, nodesOf } from "../../src/store/rehearsal.ts";
import { subscribe } from "../../src/store/subscribe.ts";
import { createTopic, type DeliveryMode } from "../../src/store/topics.ts";
import { createTestDatabase } from "./database.ts";
import { type CheckOptions, checkInvariants, type Receipt } from "./invariants.ts";
import { type NodeProcess, type NodeStart, startNode, windows } from "./nodes.ts";

export interface WorldOptions {
  readonly users: number;
  /** groups of a moment; default 8 */
  readonly groups?: number;
  /** reminders a request; default 1 */
  readonly batchSize?: number;
  readonly deliveryMode?: DeliveryMode;
  readonly receiver?: Pick<WebhookReceiverOptions, "delayMs" | "faults" | "onReceived">;
  /** a migrated database on a server of the story's own; default: a copy of the template */
  readonly databaseUrl?: string;
}

/** One moment of one schedule that all users of the world are subscribed to. */
export interface StoryMoment {
  readonly bucketId: string;
  readonly scheduleId: string;
  readonly dueAtMs: number;
}

/** What a story is played with: a database, a receiver that speaks the real protocol, users and any number of nodes. */
export interface World extends AsyncDisposable {
  readonly db: Database;
  readonly url: string;
  readonly receiver: WebhookReceiver;
  /** the receiver's append-only log, in the order in which it came in */
  readonly log: readonly Receipt[];
  readonly users: readonly string[];
  startNode(name: string, start?: Pick<NodeStart, "env" | "program">): Promise<NodeProcess>;
  /** Subscribes everybody to one instant a few seconds ahead, and resolves when its bucket is planned. */
  plan(): Promise<StoryMoment>;
  /** Resolves when every group of the moment has its end mark and the bucket is closed. */
  closed(moment: StoryMoment): Promise<void>;
  /** The node's deliveries that have their intent and no outcome. */
  unsettledOf(node: NodeProcess): Promise<number>;
  inDoubt(moment: StoryMoment): Promise<number>;
  /** deliveries received more than once, each time beyond the first counted */
  readonly duplicates: number;
  /** Checks the engine's invariants, and that everybody has their final state. @returns users by final state */
  check(moment: StoryMoment, faults: Pick<CheckOptions, "kills" | "otherFaults">): Promise<Record<string, number>>;
}

const destinationName = "receiver";
const topicName = "live";
const planHorizonMs = 3_600_000;
/** From subscribing the last to the moment: the cut's lead, and time for a busy machine to subscribe everybody. */
const aheadMs = 2000;
const usersARequest = 500;

export async function buildWorld(options: WorldOptions): Promise<World> {
  const { groups = 8, batchSize = 1, deliveryMode = "at_least_once" } = options;
  const secretKey = randomBytes(32);
  await using stack = new AsyncDisposableStack();
  const { db, url } = await databaseOf(options.databaseUrl, stack);
  const log: Receipt[] = [];
  const receiver = stack.use(
    await startWebhookReceiver({
      ...options.receiver,
      onReceived: (reminders, request) => {
        log.push(...reminders.map(receiptOf));
        options.receiver?.onReceived?.(reminders, request);
      },
    }),
  );
  const users = Array.from({ length: options.users }, (_, index) => `user-${index}`);
  await createDestination(db, { name: destinationName, url: receiver.url, batchSize }, secretKey);
  await createTopic(db, topicName, { title: "On air", deliveryMode, groupCount: groups });
  for (const some of portions(users)) {
    await saveEndpoints(
      db,
      some.map((userId) => ({ userId, channel: "webhook", destination: destinationName, pointer: "" })),
    );
  }
  const resources = stack.move();

  async function plan(): Promise<StoryMoment> {
    const { rows } = await db.pool.query<{ due_at: Date }>(
      `select date_trunc('second', carillon.clock() + ($1::int + 999) * interval '1 millisecond') as due_at`,
      [aheadMs],
    );
    const dueAt = rows[0]?.due_at ?? new Date(Number.NaN);
    let scheduleId = "";
    for (const some of portions(users)) {
      const stored = await subscribe(
        db,
        some.map((userId) => ({
          userId,
          topic: topicName,
          when: { at: dueAt.toISOString() },
          endpoints: [],
          pointer: "",
        })),
        { planHorizonMs },
      );
      scheduleId = stored[0]?.scheduleId ?? "";
    }
    const bucket = await until(() => bucketOf(db, scheduleId), "the moment is planned");
    return { bucketId: bucket.bucketId, scheduleId, dueAtMs: dueAt.getTime() };
  }

  async function check(
    { bucketId }: StoryMoment,
    faults: Pick<CheckOptions, "kills" | "otherFaults">,
  ): Promise<Record<string, number>> {
    const { rows } = await db.pool.query<{ user_id: string; state: string }>(
      "select user_id, state from carillon.deliveries where bucket_id = $1",
      [bucketId],
    );
    const states = new Map(rows.map((row) => [row.user_id, row.state]));
    expect([...states.keys()].sort(), "everybody has a delivery").toEqual(users.toSorted());
    await checkInvariants({
      db,
      receiverLog: log,
      window: windows[deliveryMode],
      mode: deliveryMode,
      expected: {
        bucketId,
        users: users.map((user) => {
          const result = finalStates.find((state) => state === states.get(user));
          // what is perhaps lost is lost for good where nothing may come twice; anybody else must have been reached
          return { user, result: deliveryMode === "at_most_once" && result === "failed" ? result : "delivered" };
        }),
      },
      ...faults,
    });
    return Object.fromEntries(
      [...Map.groupBy(states.values(), (state) => state)].map(([state, all]) => [state, all.length]),
    );
  }

  return {
    db,
    url,
    receiver,
    log,
    users,
    startNode: async (name, start = {}) =>
      resources.use(await startNode({ name, databaseUrl: url, secretKey, ...start })),
    plan,
    closed: async ({ scheduleId }) => {
      await until(async () => (await bucketOf(db, scheduleId))?.closed, "the bucket is closed");
    },
    unsettledOf: async (node) => {
      const numbers = await nodesOf(db, node.pid);
      const open = (await openIntents(db)).filter(({ nodeId }) => numbers.includes(nodeId));
      return open.reduce((sum, { deliveries }) => sum + deliveries, 0);
    },
    inDoubt: ({ bucketId }) => inDoubtCount(db, [bucketId]),
    get duplicates() {
      return log.length - new Set(log.map(({ bucket, id }) => `${bucket}/${id}`)).size;
    },
    check,
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/**
 * Asks again and again until the answer is neither false nor null nor undefined; while Postgres is away, it counts as
 * no. For what no event tells.
 *
 * @throws after 40 s, saying what was waited for
 */
export async function until<T>(
  ask: () => Promise<T | false | null | undefined> | T | false | null | undefined,
  what: string,
  limitMs = 40_000,
): Promise<T> {
  const endsAtMs = performance.now() + limitMs;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== false && answer !== null && answer !== undefined) return answer;
    } catch (error) {
      if (!isTransient(error)) throw error;
    }
    if (performance.now() > endsAtMs) throw new Error(`waited ${limitMs} ms in vain until ${what}`);
    await sleep(20);
  }
}

/**
 * Kills the node with SIGKILL at a moment at which it has deliveries with an intent and no outcome.
 *
 * @returns how many, once Postgres has ended all that it still had under way for the node
 */
export async function killWithUnsettled(world: World, node: NodeProcess): Promise<number> {
  await until(async () => {
    // stopped first, so that what is seen is still so when it is killed
    node.kill("SIGSTOP");
    if ((await world.unsettledOf(node)) > 0) return true;
    node.kill("SIGCONT");
    return false;
  }, `${node.name} has unsettled intents`);
  node.kill("SIGKILL");
  await node.exited;
  await until(async () => (await sessionsOf(world, node)).length === 0, `the sessions of ${node.name} are over`);
  return world.unsettledOf(node);
}

/**
 * Ends what a killed process still has under way in Postgres: a statement that waits for a lock goes on without its
 * client, and would be committed when the lock is free. (Postgres itself sees a dead client only when it writes to it.)
 */
export async function endSessionsOf(world: World, node: NodeProcess): Promise<void> {
  await until(async () => {
    const sessions = await sessionsOf(world, node);
    await world.db.pool.query("select pg_terminate_backend(pid) from unnest($1::int[]) as s (pid)", [sessions]);
    return sessions.length === 0;
  }, `the sessions of ${node.name} are ended`);
}

/** Process ids of Postgres' backends that serve the node. */
export async function sessionsOf(world: World, node: NodeProcess): Promise<number[]> {
  const { rows } = await world.db.pool.query<{ pid: number }>(
    "select pid from pg_stat_activity where datname = current_database() and application_name like 'carillon % ' || $1",
    [node.name],
  );
  return rows.map((row) => row.pid);
}

async function databaseOf(
  given: string | undefined,
  stack: AsyncDisposableStack,
): Promise<{ db: Database; url: string }> {
  if (given === undefined) {
    const { database: db, url } = stack.use(await createTestDatabase());
    return { db, url };
  }
  return { db: stack.use(openDatabase({ url: given, applicationName: "carillon test", max: 10 })), url: given };
}

function receiptOf({ replied, ...receipt }: ReceivedReminder): Receipt {
  return { ...receipt, refused: replied !== false && replied >= 400 };
}

function portions(users: readonly string[]): string[][] {
  return Array.from({ length: Math.ceil(users.length / usersARequest) }, (_, index) =>
    users.slice(index * usersARequest, (index + 1) * usersARequest),
  );
}
