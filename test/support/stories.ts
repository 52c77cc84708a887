import type { Channel, Delivery, Outcome, SendRequest } from "../../src/channels/channel.ts";
import { createMemoryChannel } from "../../src/channels/memory.ts";
import { createEventSender } from "../../src/channels/webhook-events.ts";
import { type ClockReading, clockAt } from "../../src/clock.ts";
import { createLogger, rateLimited } from "../../src/logger.ts";
import { runPlanner } from "../../src/planner/planner.ts";
import { readClocks, setDevelopmentClock } from "../../src/store/clock.ts";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { markDeployment } from "../../src/store/deployment.ts";
import { type SavedSubscription, subscribe } from "../../src/store/subscribe.ts";
import { createTopic, type TopicSettings } from "../../src/store/topics.ts";
import { startWorker, type Worker } from "../../src/worker/worker.ts";
import { createTestDatabase } from "./database.ts";
import { type CheckOptions, checkInvariants, type Receipt } from "./invariants.ts";
import { tellStateOnTimeout } from "./state-of-story.ts";
import { until } from "./world.ts";

/** How a story's nodes are set up: as in production, with everything that takes its time shortened. */
export const storyPace = {
  leaseMs: 2000,
  heartbeatMs: 200,
  sweepMs: 250,
  leadMs: 600,
  pollMs: 100,
  drainMs: 3000,
  sendTimeoutMs: 600,
  flushMs: 10,
  slots: 4,
  window: 100,
  windowAtMostOnce: 20,
  chunk: 25,
  horizonMs: 3_600_000,
  groupTarget: 5000,
};
export type StoryPace = typeof storyPace;

/** Seals the secrets of a story's destinations. */
export const storyKey = new Uint8Array(32).fill(7);

const logger = createLogger(process.env.STORY_LOG_LEVEL ?? "silent", "story");
const faults = rateLimited(logger);

/** A request on which a story's channel waits until the story lets it go on. */
export interface Gate {
  readonly reached: Promise<void>;
  open(): void;
  /** for `outcomeOf`: says that it is reached, and waits */
  pass(): Promise<void>;
}

export function createGate(): Gate {
  const reached = Promise.withResolvers<void>();
  const opened = Promise.withResolvers<void>();
  return {
    reached: reached.promise,
    open: opened.resolve,
    pass: () => {
      reached.resolve();
      return opened.promise;
    },
  };
}

/** The receiving side of a story: what its memory channels were given, in order. */
export class StoryReceiver {
  readonly log: Receipt[] = [];
  /** added to this machine's clock, where the story has moved carillon.clock() */
  clockShiftMs = 0;
  /** where the story has given carillon.clock() another pace as well: how it runs */
  clock: ClockReading | null = null;
  readonly #outcomeOf: ((delivery: Delivery, request: SendRequest) => Outcome | Promise<Outcome>) | undefined;

  /** @param outcomeOf default: everything is accepted */
  constructor(outcomeOf?: (delivery: Delivery, request: SendRequest) => Outcome | Promise<Outcome>) {
    this.#outcomeOf = outcomeOf;
  }

  get users(): readonly string[] {
    return this.log.map(({ user }) => user);
  }

  /** A channel that delivers here. An address is taken for the user id, as it is by default, or for it with `#` and more. */
  channel(): Channel {
    const outcomeOf = this.#outcomeOf;
    if (outcomeOf === undefined) {
      return createMemoryChannel({
        log: (deliveries, request) => {
          for (const delivery of deliveries) this.log.push(this.#receipt(delivery, request));
        },
      });
    }
    return createMemoryChannel({
      outcomeOf: async (delivery, request) => {
        const index = this.log.push(this.#receipt(delivery, request)) - 1;
        const outcome = await outcomeOf(delivery, request);
        const receipt = this.log[index];
        if (receipt !== undefined) this.log[index] = { ...receipt, refused: isRefusal(outcome) };
        return outcome;
      },
    });
  }

  #receipt(delivery: Delivery, { moment }: SendRequest): Receipt {
    return {
      id: delivery.deliveryId,
      user: delivery.address.split("#", 1)[0] ?? "",
      bucket: moment.bucketId,
      group: moment.groupNumber,
      node: moment.node,
      attempt: delivery.attempt,
      receivedAtMs: this.clock === null ? Date.now() + this.clockShiftMs : clockAt(this.clock, Date.now()),
      dueAtMs: Date.parse(moment.dueAt),
    };
  }
}

function isRefusal({ kind }: Outcome): boolean {
  return kind === "retry" || kind === "rejected" || kind === "gone" || kind === "auth";
}

export interface StoryNode extends AsyncDisposable {
  readonly name: string;
  readonly worker: Worker;
  stop(): Promise<void>;
}

interface StoryEndpoint {
  readonly channel: string;
  readonly destination?: string;
  readonly address?: string;
}

/** the same for all users, or made for each by the id */
export type StoryEndpoints = readonly StoryEndpoint[] | ((userId: string) => readonly StoryEndpoint[]);

/** One migrated database, the nodes that work on it, and shorthands for what most stories do. */
export interface Story extends AsyncDisposable {
  readonly db: Database;
  readonly url: string;
  /** A node as `carillon worker` runs it, planner and worker, in this process. */
  startNode(options?: {
    readonly channels?: readonly Channel[];
    readonly receiver?: StoryReceiver;
    readonly name?: string;
    readonly url?: string;
    readonly pace?: Partial<StoryPace>;
  }): Promise<StoryNode>;
  topic(name: string, settings?: TopicSettings): Promise<number>;
  /** A whole second of Postgres' due clock, at least so far ahead. */
  instantIn(milliseconds: number): Promise<string>;
  /** Subscribes users, who are reached over the memory channel unless said otherwise, to one instant. */
  subscribe(
    topic: string,
    at: string,
    userIds: readonly string[],
    endpoints?: StoryEndpoints,
  ): Promise<SavedSubscription[]>;
  /**
   * Sets carillon.clock() to an instant (RFC 3339) not after now, from where it goes on: leases and jobs stay in the
   * present. Best done before nodes are started, who keep the clock for some heartbeats.
   * @returns milliseconds to add to this machine's clock
   */
  setClock(at: string): Promise<number>;
  /** Sets carillon.clock() to an instant, from where it goes so many times as fast as real time. */
  setPace(at: string, speed: number): Promise<ClockReading>;
  /** Waits until the schedule's only bucket is there. */
  bucketOf(scheduleId: string): Promise<string>;
  whenCut(bucketId: string): Promise<void>;
  whenClosed(bucketId: string): Promise<void>;
  /** final states of a bucket and how many deliveries have each: `{"delivered: accepted": 10}` */
  states(bucketId: string): Promise<Record<string, number>>;
  /** the users of a schedule in the order in which they are fired */
  firingOrder(scheduleId: string): Promise<string[]>;
  rows<T extends object>(text: string, values?: readonly unknown[]): Promise<T[]>;
  one<T extends object>(text: string, values?: readonly unknown[]): Promise<T>;
  /** the engine's invariants over the whole database */
  check(options: Partial<CheckOptions> & Pick<CheckOptions, "receiverLog">): Promise<void>;
}

export async function beginStory(): Promise<Story> {
  const storied: { db?: Database } = {};
  // asked before anything is awaited: the runner knows by that which of several stories side by side it is
  tellStateOnTimeout(storied);
  await using stack = new AsyncDisposableStack();
  const { database: db, url } = stack.use(await createTestDatabase({ max: 12 }));
  storied.db = db;
  const nodes = stack.use(new AsyncDisposableStack());
  const resources = stack.move();
  let named = 0;

  const rows = async <T extends object>(text: string, values: readonly unknown[] = []): Promise<T[]> =>
    (await db.pool.query<T>(text, [...values])).rows;

  async function one<T extends object>(text: string, values: readonly unknown[] = []): Promise<T> {
    const [row] = await rows<T>(text, values);
    if (row === undefined) throw new Error(`no row from ${text}`);
    return row;
  }

  const bucketRow = (bucketId: string) =>
    one<{ cut_at: Date | null; closed_at: Date | null }>(
      "select cut_at, closed_at from carillon.time_buckets where bucket_id = $1",
      [bucketId],
    );

  async function setClock(at: string, speed: number): Promise<ClockReading> {
    await markDeployment(db.pool, "development");
    await setDevelopmentClock(db.pool, { nowMs: Date.parse(at), speed });
    return readClocks(db.pool);
  }

  return {
    db,
    url,
    rows,
    one,
    setPace: setClock,
    async startNode({ receiver = new StoryReceiver(), channels, name, url: nodeUrl = url, pace = {} } = {}) {
      named += 1;
      const node = await startStoryNode(nodeUrl, name ?? `node-${named}`, channels ?? [receiver.channel()], {
        ...storyPace,
        ...pace,
      });
      nodes.use(node);
      return node;
    },
    async topic(name, settings = {}) {
      return (await createTopic(db, name, { expiresAfterMs: 60_000, ...settings })).topicId;
    },
    async instantIn(milliseconds) {
      const { at } = await one<{ at: string }>(
        `select to_char(date_trunc('second', (carillon.clock() + ($1::float8 + 999) * interval '1 millisecond') at time zone 'UTC'),
           'YYYY-MM-DD"T"HH24:MI:SS"Z"') as at`,
        [milliseconds],
      );
      return at;
    },
    async subscribe(topic, at, userIds, endpoints = [{ channel: "memory" }]) {
      const endpointsOf = typeof endpoints === "function" ? endpoints : () => endpoints;
      const saved: SavedSubscription[] = [];
      for (let from = 0; from < userIds.length; from += 1000) {
        const requests = userIds
          .slice(from, from + 1000)
          .map((userId) => ({ userId, topic, when: { at }, endpoints: endpointsOf(userId), pointer: "" }));
        saved.push(...(await subscribe(db, requests, { planHorizonMs: storyPace.horizonMs })));
      }
      return saved;
    },
    async setClock(at) {
      const { clockMs, realMs } = await setClock(at, 1);
      return Math.round(clockMs - realMs);
    },
    bucketOf: (scheduleId) =>
      until(async () => {
        const found = await rows<{ bucket_id: string }>(
          "select bucket_id from carillon.time_buckets where schedule_id = $1",
          [scheduleId],
        );
        return found[0]?.bucket_id;
      }, `schedule ${scheduleId} has its bucket`),
    async whenCut(bucketId) {
      await until(async () => (await bucketRow(bucketId)).cut_at, `bucket ${bucketId} is cut`);
    },
    async whenClosed(bucketId) {
      await until(async () => (await bucketRow(bucketId)).closed_at, `bucket ${bucketId} is closed`);
    },
    async states(bucketId) {
      const found = await rows<{ state: string; deliveries: number }>(
        `select o.state || ': ' || o.reason as state, count(*)::int as deliveries
         from carillon.chunk_members m join carillon.outcome_codes o on o.code = m.code and o.final
         where m.bucket_id = $1 group by 1 order by 1`,
        [bucketId],
      );
      return Object.fromEntries(found.map(({ state, deliveries }) => [state, deliveries]));
    },
    async firingOrder(scheduleId) {
      const found = await rows<{ user_id: string }>(
        `select u.user_id from carillon.subscriptions s join carillon.users u using (user_number)
         where s.schedule_id = $1 order by s.hash_slot, s.user_number`,
        [scheduleId],
      );
      return found.map(({ user_id }) => user_id);
    },
    async check(options) {
      await nodes.disposeAsync();
      await checkInvariants({ db, window: storyPace.window, mode: "at_least_once", kills: 0, ...options });
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

async function startStoryNode(
  url: string,
  name: string,
  channels: readonly Channel[],
  pace: StoryPace,
): Promise<StoryNode> {
  await using stack = new AsyncDisposableStack();
  const onError = (error: Error) => faults.warn("pool", { err: error }, "a connection to Postgres broke");
  const open = (part: string, max: number) =>
    stack.use(openDatabase({ url, applicationName: `carillon ${part} ${name}`, max, onError }));
  const db = open("planner", 2);
  const jobsDb = open("planner jobs", 3);
  const worker = await startWorker({
    ...pace,
    databaseUrl: url,
    nodeName: name,
    version: "story",
    secretKey: storyKey,
    channels,
    eventSender: createEventSender({ policy: { allowLoopback: true } }),
    logger,
  });
  const stopping = new AbortController();
  const planner = runPlanner(
    {
      db,
      jobsDb,
      options: pace,
      cut: { groupTarget: pace.groupTarget, groupsPerNode: 4, groupFloor: 500, aliveMs: pace.leaseMs, batch: 1000 },
      logger,
      faults,
    },
    stopping.signal,
  );
  const pools = stack.move();
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= (async () => {
      stopping.abort(new Error("the story has ended"));
      await Promise.all([planner, worker.stop()]);
      await pools.disposeAsync();
    })();
    return stopped;
  };
  return { name, worker, stop, [Symbol.asyncDispose]: stop };
}

/**
 * What a SIGKILL of a group's owner comes to, as Postgres sees it, without a process to kill: the lease has run out, and
 * whatever the owner still writes is refused. It finds out at its next statement, or heartbeat, and lets its sends go.
 *
 * @returns how many groups lost their owner
 */
export async function loseOwners(db: Database, bucketId: string): Promise<number> {
  const { rowCount } = await db.pool.query(
    `update carillon.groups set epoch = epoch + 1, claim_token = gen_random_uuid(), lease_until = clock_timestamp() - interval '1 ms'
     where bucket_id = $1 and claim_token is not null and finished_at is null`,
    [bucketId],
  );
  return rowCount ?? 0;
}

/** What was put off is tried now, without waiting for its time. */
export function hurry({ rows }: Pick<Story, "rows">): Promise<unknown> {
  return rows(
    `with due as (update carillon.deferred set next_try_at = clock_timestamp() returning bucket_id, group_number)
     update carillon.groups g set not_before = clock_timestamp() from due d
     where g.bucket_id = d.bucket_id and g.group_number = d.group_number and g.finished_at is null`,
  );
}

/** `count` user ids. */
export function userIds(count: number, prefix = "user"): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}-${index + 1}`);
}
