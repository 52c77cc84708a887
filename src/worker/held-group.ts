import { type Monotonic, monotonicMs } from "../clock.ts";
import type { ClaimedGroup } from "../store/claim.ts";

/** The group was taken over, or must be taken for it: nothing more may be sent or written about it. */
export class LostGroup extends Error {
  override readonly name = "LostGroup";
}

/**
 * A group that this worker holds, with the lease as it is known here: until when, on the monotonic clock, counted from
 * before the statement that renewed it was sent. So it ends here before it ends in Postgres.
 */
export class HeldGroup {
  readonly group: ClaimedGroup;
  readonly #monotonic: Monotonic;
  readonly #lost = new AbortController();
  #leaseEndsAtMs: number;
  #stepEndsAtMs: () => number = () => Number.POSITIVE_INFINITY;

  /** @param leaseEndsAtMs monotonic */
  constructor(group: ClaimedGroup, leaseEndsAtMs: number, monotonic: Monotonic = monotonicMs) {
    this.group = group;
    this.#leaseEndsAtMs = leaseEndsAtMs;
    this.#monotonic = monotonic;
  }

  /** aborted when the group is lost */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  lose(why: string): void {
    this.#lost.abort(new LostGroup(`group ${this.group.bucketId}:${this.group.groupNumber} is lost: ${why}`));
  }

  /** @param leaseEndsAtMs monotonic, counted from before the renewing statement was sent */
  renew(leaseEndsAtMs: number): void {
    this.#leaseEndsAtMs = Math.max(this.#leaseEndsAtMs, leaseEndsAtMs);
  }

  /** Whether the lease outlives something that takes so long. Asked before each send. */
  outlives(durationMs: number): boolean {
    return !this.#lost.signal.aborted && this.#monotonic() + durationMs < this.#leaseEndsAtMs;
  }

  /**
   * What is being done must be done by then. A step that outlasts its deadline is stuck: the heartbeat lets the lease of
   * its group run out, so that another worker takes it.
   * @param endsAtMs monotonic; a function where the deadline moves with the worker's progress
   */
  step(endsAtMs: number | (() => number)): void {
    this.#stepEndsAtMs = typeof endsAtMs === "number" ? () => endsAtMs : endsAtMs;
  }

  get stuck(): boolean {
    return this.#monotonic() > this.#stepEndsAtMs();
  }
}
