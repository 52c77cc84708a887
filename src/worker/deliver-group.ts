import type { Moment } from "../channels/channel.ts";
import { monotonicMs, sleep } from "../clock.ts";
import { unreachable } from "../errors.ts";
import { outcomeCodes } from "../reminder/outcome-code.ts";
import type { Chunk } from "../store/chunk.ts";
import { endpointsPerUser } from "../store/endpoints.ts";
import { findIntent, type IntentRequest, intend, intendDeferred } from "../store/intent.ts";
import { releaseGroup } from "../store/lease.ts";
import { type Refusal, whyRefused } from "../store/refusal.ts";
import type { WorkerContext } from "./context.ts";
import { GroupMessages } from "./group-messages.ts";
import { type HeldGroup, LostGroup } from "./held-group.ts";
import { persist } from "./patience.ts";
import { ChunkRecord } from "./record-chunk.ts";
import { resolveInDoubt } from "./resolve-in-doubt.ts";
import { momentOf, sendChunk } from "./send-chunk.ts";

export type GroupEnd = "finished" | "released" | "lost";

/**
 * Delivers one group that was claimed: waits for its moment, goes through its members chunk by chunk, and sets the end
 * mark; or gives the group back, when it is to wait or the worker is to stop. Never rejects.
 */
export async function deliverGroup(worker: WorkerContext, held: HeldGroup): Promise<GroupEnd> {
  using _ = worker.heartbeat.hold(held);
  const { group } = held;
  const delivery = new GroupDelivery(worker, held);
  const where = { bucket: group.bucketId, group: group.groupNumber, epoch: group.epoch, topic: group.topic.name };
  try {
    if (group.nextChunk > 0) {
      const inDoubt = await resolveInDoubt(worker, held);
      if (inDoubt > 0) worker.logger.warn({ ...where, inDoubt }, "a group was taken over with deliveries in doubt");
    }
    await delivery.untilDue();
    await delivery.fire();
    const end = await delivery.settle();
    worker.logger.info({ ...where, sent: delivery.sent, recorded: delivery.recorded, end }, "group done");
    return end;
  } catch (error) {
    if (held.lost.aborted || error instanceof LostGroup) {
      worker.logger.warn({ ...where, err: held.lost.reason ?? error }, "a group was lost");
      return "lost";
    }
    if (error instanceof Waits) return delivery.release(0, null);
    if (worker.draining.aborted) return delivery.release(0, null);
    // its users can't be read, say: the group goes back with a back-off, and this worker goes on with the next
    worker.faults.error("group", { ...where, err: error }, "a group can't be delivered; it is given back");
    return delivery.release(Math.min(30_000, 1000 * 2 ** group.takeovers), describe(error));
  }
}

/** Not now: halted by a pause. Whoever resumes it wakes it. */
class Waits extends Error {}

/** Without a sign of life for so long beyond a send's own timeout, a group's step is stuck. */
const stuckAfterMs = 10_000;
/** Members that are recorded without being sent, at a time. */
const recordChunk = 1000;

class GroupDelivery {
  sent = 0;
  recorded = 0;
  readonly #worker: WorkerContext;
  readonly #held: HeldGroup;
  readonly #moment: Moment;
  readonly #messages: GroupMessages;
  readonly #signal: AbortSignal;
  readonly #sending = new Set<Promise<void>>();
  #nextChunk: number;
  #pagedThrough: boolean;
  /** nothing more is sent; every member left gets this code */
  #recordAs: number | null;
  /** monotonic: when the first deferred delivery is to be tried again, as far as is known here */
  #nextTryAtMs: number;
  #progressAtMs = monotonicMs();

  constructor(worker: WorkerContext, held: HeldGroup) {
    const { group } = held;
    this.#worker = worker;
    this.#held = held;
    this.#moment = momentOf(held, worker.nodeName);
    this.#messages = new GroupMessages(worker.db.pool, group, worker.messages.find(group.topic));
    this.#signal = AbortSignal.any([held.lost, worker.draining]);
    this.#nextChunk = group.nextChunk;
    this.#pagedThrough = group.pagedThrough;
    this.#recordAs = group.cancelled ? outcomeCodes.cancelled : null;
    // an earlier owner may have deferred some
    this.#nextTryAtMs = group.nextChunk > 0 ? 0 : Number.POSITIVE_INFINITY;
  }

  /** Armed: connections are opened, then the instant is waited for on Postgres' clock. */
  async untilDue(): Promise<void> {
    const { clock, destinations, channels } = this.#worker;
    const { dueAtMs } = this.#held.group;
    if (clock.realMsUntil(dueAtMs) <= 0) return;
    // not waited for: a destination that does not answer must not make the others late
    for (const destination of destinations.known) {
      for (const channel of channels.values()) void channel.warm(destination, this.#signal);
    }
    for (let waitMs = clock.realMsUntil(dueAtMs); waitMs > 0; waitMs = clock.realMsUntil(dueAtMs)) {
      // in steps, since the clock's offset and pace are measured anew meanwhile
      await sleep(Math.min(waitMs, 1000), this.#signal);
    }
  }

  async fire(): Promise<void> {
    const { sendTimeoutMs } = this.#worker;
    this.#progressAtMs = monotonicMs();
    this.#held.step(() => Math.max(this.#window.movedAtMs, this.#progressAtMs) + sendTimeoutMs + stuckAfterMs);
    try {
      while (!this.#pagedThrough) {
        await this.#retryDeferred();
        await this.#nextMembers(intend);
      }
      await this.#retryDeferred();
    } finally {
      await Promise.all(this.#sending);
      this.#held.step(Number.POSITIVE_INFINITY);
    }
    // what the last sends deferred and is due by now
    while (this.#nextTryAtMs <= monotonicMs()) {
      await this.#retryDeferred();
      await Promise.all(this.#sending);
    }
  }

  async settle(): Promise<GroupEnd> {
    const { statements } = this.#worker;
    const { group } = this.#held;
    if (!(await this.#persist(() => statements.settle(group)))) return this.release(0, null);
    const closed = await this.#persist(() => statements.close(group.bucketId));
    if (closed) this.#worker.logger.info({ bucket: group.bucketId, topic: group.topic.name }, "time bucket closed");
    return "finished";
  }

  async release(waitMs: number, fault: string | null): Promise<GroupEnd> {
    const { db, abandon, faults } = this.#worker;
    try {
      const released = await persist(
        AbortSignal.any([this.#held.lost, abandon]),
        () => releaseGroup(db.pool, this.#held.group, { waitMs, fault }),
        (error) => faults.warn("release", { err: error }, "a group can't be given back just now"),
      );
      return released ? "released" : "lost";
    } catch {
      // then its lease runs out, and the sweep finds it
      return "lost";
    }
  }

  get #window() {
    return this.#worker.windows[this.#held.group.topic.deliveryMode];
  }

  async #retryDeferred(): Promise<void> {
    while (this.#recordAs !== null || this.#nextTryAtMs <= monotonicMs()) {
      const chunk = await this.#nextMembers(intendDeferred);
      if (chunk.size > 0) continue;
      if (this.#recordAs === null || this.#pagedThrough) this.#nextTryAtMs = Number.POSITIVE_INFINITY;
      return;
    }
  }

  /** One chunk: room in the window, the intent, and off it goes. Its outcomes come in while the next one is read. */
  async #nextMembers(verb: typeof intend): Promise<Chunk> {
    const room = this.#recordAs === null ? await this.#takeRoom() : 0;
    let spare = room;
    try {
      const chunk = await this.#intendSurely(verb, room);
      const toSend = chunk.members.length;
      if (toSend > room) this.#window.overdraw(toSend - room);
      spare = Math.max(0, room - toSend);
      this.#progressAtMs = monotonicMs();
      if (chunk.size > 0) this.#nextChunk = chunk.chunkNumber + 1;
      if (verb === intend) this.#pagedThrough = chunk.pagedThrough;
      this.sent += toSend;
      this.recorded += chunk.size - toSend;
      if (toSend > 0) this.#send(chunk);
      return chunk;
    } finally {
      this.#window.give(spare);
    }
  }

  /** An intent takes a user with all endpoints or not at all, so it needs room for as many as one user may have. */
  #takeRoom(): Promise<number> {
    const { chunk } = this.#worker;
    const { smallPopulation } = this.#held.group;
    // a small group's room is what it is expected to need and a little more, so that many find room at once
    const want = smallPopulation === null ? chunk : Math.min(chunk, smallPopulation + endpointsPerUser);
    return this.#window.take(want, this.#signal, endpointsPerUser);
  }

  #send(chunk: Chunk): void {
    const record = new ChunkRecord(
      this.#worker,
      this.#held,
      chunk,
      (waitMs) => {
        this.#nextTryAtMs = Math.min(this.#nextTryAtMs, monotonicMs() + waitMs);
      },
      (room) => {
        this.#progressAtMs = monotonicMs();
        this.#window.give(room);
      },
    );
    const sending = sendChunk(this.#worker, this.#held, this.#moment, this.#messages, chunk, record).finally(() =>
      this.#sending.delete(sending),
    );
    this.#sending.add(sending);
  }

  async #intendSurely(verb: typeof intend, room: number): Promise<Chunk> {
    const { db, statements, leaseMs } = this.#worker;
    const { group } = this.#held;
    let looked = false;
    for (;;) {
      const request: IntentRequest = {
        fence: group,
        chunkNumber: this.#nextChunk,
        limit: this.#recordAs === null ? room : recordChunk,
        leaseMs,
        recordAs: this.#recordAs,
        dense: group.dense,
        first: group.topic.reach === "first",
      };
      const beforeMs = monotonicMs();
      const chunk = await this.#persist(async (repeated) => {
        const standing = repeated || looked ? await findIntent(db.pool, group, this.#nextChunk, group.dueDay) : null;
        if (standing !== null) return standing;
        const small =
          verb === intend && group.smallPopulation !== null && this.#recordAs === null && !repeated && !request.first;
        return (small ? await statements.intendSmall(request) : null) ?? verb(db.pool, request);
      });
      if (chunk !== null) {
        this.#held.renew(beforeMs + leaseMs);
        return chunk;
      }
      const refusal = await this.#persist(() => whyRefused(db.pool, group, this.#nextChunk));
      looked = refusal.kind === "moved";
      await this.#heed(refusal);
    }
  }

  /** A refused intent says what to do instead. */
  async #heed(refusal: Refusal): Promise<void> {
    switch (refusal.kind) {
      case "not_yet_due":
        return sleep(refusal.waitMs, this.#signal);
      case "moved":
        // an intent whose reply was lost: it is looked up
        return;
      case "halted":
        throw new Waits("halted");
      case "expired":
        this.#recordAs = refusal.paused ? outcomeCodes.paused : outcomeCodes.expired;
        return;
      case "cancelled":
        this.#recordAs = outcomeCodes.cancelled;
        return;
      case "lost":
        this.#held.lose("an intent was refused");
        throw new LostGroup("an intent was refused");
      default:
        return unreachable(refusal);
    }
  }

  #persist<T>(run: (repeated: boolean) => Promise<T>): Promise<T> {
    return persist(this.#held.lost, run, (error) => {
      this.#progressAtMs = monotonicMs();
      this.#worker.faults.warn("group", { err: error }, "Postgres does not answer just now; trying again");
    });
  }
}

function describe(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, 200);
}
