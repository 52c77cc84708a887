import { monotonicMs, sleep } from "../clock.ts";
import type { RateLimitedLogger } from "../logger.ts";
import { readClocks } from "../store/clock.ts";
import type { Database } from "../store/database.ts";
import { renewLeases } from "../store/lease.ts";
import { beatNode } from "../store/nodes.ts";
import type { HeldGroup } from "./held-group.ts";
import type { PgClock } from "./pg-clock.ts";

export interface HeartbeatOptions {
  readonly nodeId: number;
  readonly heartbeatMs: number;
  readonly leaseMs: number;
}

/**
 * Renews the leases of the groups that this worker holds, on a connection of its own: a busy pool must not cost a lease.
 * It also keeps Postgres' clock and tells the other nodes that this one lives.
 */
export class Heartbeat {
  readonly #db: Database;
  readonly #clock: PgClock;
  readonly #options: HeartbeatOptions;
  readonly #faults: RateLimitedLogger;
  readonly #held = new Set<HeldGroup>();
  #answeredAtMs = Number.NEGATIVE_INFINITY;

  /** @param db a pool with one connection that nobody else uses */
  constructor(db: Database, clock: PgClock, options: HeartbeatOptions, faults: RateLimitedLogger) {
    this.#db = db;
    this.#clock = clock;
    this.#options = options;
    this.#faults = faults;
  }

  hold(group: HeldGroup): Disposable {
    this.#held.add(group);
    return { [Symbol.dispose]: () => void this.#held.delete(group) };
  }

  get held(): number {
    return this.#held.size;
  }

  /** Whether Postgres has answered within the last lease. */
  get alive(): boolean {
    return monotonicMs() - this.#answeredAtMs < this.#options.leaseMs;
  }

  /** Beats until the signal is aborted. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.beat();
      } catch (error) {
        this.#faults.warn("heartbeat", { err: error }, "leases can't be renewed just now");
      }
      await sleep(this.#options.heartbeatMs, signal).catch(() => undefined);
    }
  }

  async beat(): Promise<void> {
    const { nodeId, leaseMs } = this.#options;
    await this.#clock.sample(() => readClocks(this.#db.pool));
    await this.#renew(leaseMs);
    await beatNode(this.#db.pool, nodeId, this.#clock.skewMs(Date.now()));
    this.#answeredAtMs = monotonicMs();
  }

  async #renew(leaseMs: number): Promise<void> {
    const moving = new Map<string, HeldGroup>();
    for (const held of this.#held) {
      if (held.stuck) held.lose("its step outlasted its deadline");
      else moving.set(`${held.group.bucketId}:${held.group.groupNumber}`, held);
    }
    const before = monotonicMs();
    const renewals = await renewLeases(
      this.#db.pool,
      [...moving.values()].map((held) => held.group),
      leaseMs,
    );
    for (const renewal of renewals) {
      const held = moving.get(`${renewal.bucketId}:${renewal.groupNumber}`);
      if (!renewal.held) held?.lose("another claim has it");
      else if (renewal.renewed) held?.renew(before + leaseMs);
    }
  }
}
