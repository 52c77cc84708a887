import { randomUUID } from "node:crypto";
import { z } from "zod";
import type { Channel } from "../channels/channel.ts";
import type { EventSender } from "../channels/webhook-events.ts";
import { monotonicMs, sleep } from "../clock.ts";
import { type Logger, rateLimited } from "../logger.ts";
import { type ClaimedGroup, claimGroups, claimNextDue } from "../store/claim.ts";
import { readClocks } from "../store/clock.ts";
import { type Database, openDatabase } from "../store/database.ts";
import { keepRunning } from "../store/job-runner.ts";
import { addGroupJobAt, taskNames } from "../store/jobs.ts";
import { registerNode, stopNode } from "../store/nodes.ts";
import { warmUp } from "../store/warm-up.ts";
import { Arms } from "./arms.ts";
import type { WorkerContext } from "./context.ts";
import { deliverGroup } from "./deliver-group.ts";
import { DestinationBook } from "./destination-book.ts";
import { Heartbeat } from "./heartbeat.ts";
import { HeldGroup } from "./held-group.ts";
import { MessageBook } from "./message-book.ts";
import { Outlets } from "./outlets.ts";
import { persist } from "./patience.ts";
import { PgClock } from "./pg-clock.ts";
import { runRescue } from "./rescue.ts";
import { createStatements } from "./statements.ts";
import { tellListeners } from "./tell-listeners.ts";
import { Window } from "./window.ts";

export interface WorkerOptions {
  readonly databaseUrl: string;
  readonly nodeName: string;
  readonly version: string;
  /** of the zone data, to be shown beside the node */
  readonly tzdata?: string | undefined;
  readonly secretKey: Uint8Array | null;
  readonly channels: readonly Channel[];
  /** tells listeners of events; without one, others do */
  readonly eventSender?: EventSender | undefined;
  readonly leaseMs: number;
  readonly heartbeatMs: number;
  readonly sweepMs: number;
  readonly leadMs: number;
  readonly pollMs: number;
  readonly drainMs: number;
  readonly sendTimeoutMs: number;
  readonly flushMs: number;
  readonly slots: number;
  readonly window: number;
  readonly windowAtMostOnce: number;
  readonly chunk: number;
  readonly logger: Logger;
}

export interface Worker extends AsyncDisposable {
  readonly nodeId: number;
  /** whether it can work: Postgres answers its heartbeat */
  readonly ready: boolean;
  /** begins nothing new, lets end what is under way, gives the rest back; a second call is fine */
  stop(): Promise<void>;
}

/** How many connections each pool of a worker opens at most. */
const poolSizes = (slots: number) => ({ worker: slots + 2, jobs: slots + 1, heartbeat: 1 });

/** How many connections a worker opens at most, all its pools together. */
export function workerConnections(slots: number): number {
  const { worker, jobs, heartbeat } = poolSizes(slots);
  return worker + jobs + heartbeat;
}

const groupPayload = z.object({
  bucketId: z.string(),
  groupNumber: z.number().int(),
  dueAtMs: z.number(),
  share: z.number().int(),
  more: z.array(z.object({ bucketId: z.string(), groupNumber: z.number().int() })).default([]),
});

/**
 * Starts the sending part of a node: it claims groups and delivers them until it is stopped. Any number of workers run
 * against one database; they know of each other through it alone.
 * @throws when Postgres can't be reached at the start
 */
export async function startWorker(options: WorkerOptions): Promise<Worker> {
  const { logger, slots } = options;
  const faults = rateLimited(logger);
  const onError = (error: Error) => faults.warn("pool", { err: error }, "a connection to Postgres broke");
  const open = (name: string, max: number, lazyCommits: boolean): Database =>
    openDatabase({
      url: options.databaseUrl,
      applicationName: `carillon ${name} ${options.nodeName}`,
      max,
      genericPlans: true,
      lazyCommits,
      // a connection keeps its plans for the next moment
      idleTimeoutMs: 0,
      onError,
    });
  await using stack = new AsyncDisposableStack();
  const sizes = poolSizes(slots);
  const db = stack.use(open("worker", sizes.worker, false));
  // one connection listens; the others fetch and complete jobs, claim groups and keep paces
  const jobsDb = stack.use(open("jobs", sizes.jobs, true));
  const heartbeatDb = stack.use(open("heartbeat", sizes.heartbeat, true));

  const draining = new AbortController();
  const abandon = new AbortController();
  const clock = new PgClock();
  await clock.sample(() => readClocks(heartbeatDb.pool));
  // only a head start: without it the first chunks are a few milliseconds slower
  await warmUp(db, slots).catch((error: unknown) => faults.warn("warm-up", { err: error }, "connections stay cold"));
  const nodeId = await registerNode(db.pool, {
    name: options.nodeName,
    role: "worker",
    pid: process.pid,
    version: options.version,
    slots,
    tzdata: options.tzdata,
  });
  const heartbeat = new Heartbeat(heartbeatDb, clock, { ...options, nodeId }, faults);
  const context: WorkerContext = {
    ...options,
    db,
    statements: createStatements(db),
    nodeId,
    clock,
    heartbeat,
    channels: new Map(options.channels.map((channel) => [channel.name, channel])),
    destinations: new DestinationBook(db, options.secretKey),
    outlets: new Outlets(jobsDb.pool, options.window, faults),
    messages: new MessageBook(),
    windows: { at_least_once: new Window(options.window), at_most_once: new Window(options.windowAtMostOnce) },
    random: Math.random,
    faults,
    draining: draining.signal,
    abandon: abandon.signal,
  };
  const beating = new AbortController();
  const running = [
    heartbeat.run(beating.signal),
    keepRunning(
      {
        db: jobsDb,
        tasks: { [taskNames.group]: groupTask(context, jobsDb, new Arms(slots), options.pollMs) },
        cron: [],
        concurrency: slots,
        pollMs: options.pollMs,
        drainMs: options.drainMs,
        logger,
        faults,
      },
      draining.signal,
    ),
    runRescue(db, options, logger, faults, draining.signal),
    tell(context, options),
  ] as const;
  const resources = stack.move();
  logger.info({ nodeId, slots, window: options.window }, "worker started");

  let stopped: Promise<void> | undefined;
  async function stop(): Promise<void> {
    logger.info({ held: heartbeat.held }, "worker stopping");
    draining.abort(new Error("the worker is stopping"));
    const drained = sleep(options.drainMs, beating.signal).then(
      () => abandon.abort(new Error("the drain is over")),
      () => undefined,
    );
    await Promise.all([running[1], running[2], running[3]]);
    beating.abort(new Error("the worker has stopped"));
    await Promise.all([running[0], drained]);
    await stopNode(db.pool, nodeId).catch((error: unknown) => logger.warn({ err: error }, "could not sign off"));
    await Promise.all([...options.channels.map((channel) => channel.close()), options.eventSender?.close()]);
    await resources.disposeAsync();
    logger.info({ nodeId }, "worker stopped");
  }
  function stopOnce(): Promise<void> {
    stopped ??= stop();
    return stopped;
  }
  return {
    nodeId,
    get ready() {
      return heartbeat.alive && !draining.signal.aborted;
    },
    stop: stopOnce,
    [Symbol.asyncDispose]: stopOnce,
  };
}

async function tell(worker: WorkerContext, options: WorkerOptions): Promise<void> {
  const { eventSender: sender, sweepMs, secretKey } = options;
  if (sender === undefined) return;
  // a book of its own: the worker's has those whose connections are opened ahead of a moment
  const destinations = new DestinationBook(worker.db, secretKey);
  await tellListeners({ ...worker, destinations, sender, sweepMs }, worker.draining, worker.abandon);
}

/** A timer can't be set for longer; a clock that goes slowly could ask for it. */
const timerMaxMs = 2 ** 31 - 1;

/**
 * What a slot does when a job wakes it: it takes the job's own group, if that is still ahead and this node may hold it;
 * then whatever is due, one group after another, until nothing is. It never throws: a group's troubles are its own.
 */
function groupTask(
  worker: WorkerContext,
  jobsDb: Database,
  arms: Arms,
  pollMs: number,
): (payload: unknown) => Promise<void> {
  const claimant = () => ({ nodeId: worker.nodeId, claimToken: randomUUID(), leaseMs: worker.leaseMs });

  /** One group, or many small ones at once: then they share their statements. */
  async function deliver(claim: () => Promise<readonly ClaimedGroup[]>): Promise<boolean> {
    const beforeMs = monotonicMs();
    const groups = await claim();
    await Promise.all(groups.map((group) => deliverGroup(worker, new HeldGroup(group, beforeMs + worker.leaseMs))));
    return groups.length > 0;
  }

  async function arm(payload: z.infer<typeof groupPayload>): Promise<void> {
    using hold = arms.take(payload.dueAtMs, payload.share);
    if (hold === null) {
      // somebody else's share: offered again while they can still arm it, and rarely enough for any number of groups;
      // at the moment itself whoever has a slot takes it. Without the jitter the job would come due at this node's own
      // next poll, time after time, and the others would never see it.
      const leftMs = worker.clock.realMsUntil(payload.dueAtMs);
      const waitMs = Math.min(leftMs, Math.max(pollMs, leftMs / 3) * (0.5 + worker.random()));
      await addGroupJobAt(worker.db.pool, payload, new Date(worker.clock.realNowMs() + waitMs));
      return;
    }
    const release = setTimeout(
      () => hold[Symbol.dispose](),
      Math.min(timerMaxMs, Math.max(0, worker.clock.realMsUntil(payload.dueAtMs))),
    );
    try {
      await deliver(() => claimGroups(jobsDb.pool, claimant(), [payload, ...payload.more]));
    } finally {
      clearTimeout(release);
    }
  }

  return async (raw) => {
    try {
      const payload = groupPayload.parse(raw);
      await persist(
        worker.draining,
        async () => {
          if (payload.dueAtMs > worker.clock.nowMs()) await arm(payload);
          while (!worker.draining.aborted && (await deliver(() => claimNextDue(jobsDb.pool, claimant()))));
        },
        (error) => worker.faults.warn("claim", { err: error }, "groups can't be claimed just now"),
      );
    } catch (error) {
      if (!worker.draining.aborted) worker.faults.error("claim", { err: error }, "a slot failed");
    }
  };
}
