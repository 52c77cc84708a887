import type { Outcome } from "../channels/channel.ts";
import { type Monotonic, monotonicMs } from "../clock.ts";
import type { RateLimitedLogger } from "../logger.ts";
import type { Executor } from "../store/executor.ts";
import { markStopped, reserve } from "../store/outlets.ts";
import { Circuit } from "./circuit.ts";
import { Pace } from "./pace.ts";
import type { HeldBack } from "./verdict.ts";

/** What is common to all that a worker sends to one far side: whether it is worth sending, and how fast it may. */
export interface Outlet {
  readonly circuit: Circuit;
  readonly pace: Pace;
  /** tells the circuit what became of what it admitted */
  settled(outcomes: readonly Outcome[]): void;
  /** for what may not go now */
  heldBack(waitMs: number): HeldBack;
}

/** The outlets of one worker, by destination and, where a destination has several far sides, by route. */
export class Outlets {
  readonly #executor: Executor;
  readonly #share: number;
  readonly #faults: RateLimitedLogger;
  readonly #monotonic: Monotonic;
  readonly #outlets = new Map<string, Outlet>();
  readonly #paces = new Map<number, Pace>();

  /**
   * @param executor for paces, and to say that a destination refuses
   * @param window deliveries under way at most; a far side that does not answer gets a quarter of it
   */
  constructor(executor: Executor, window: number, faults: RateLimitedLogger, monotonic: Monotonic = monotonicMs) {
    this.#executor = executor;
    this.#share = Math.ceil(window / 4);
    this.#faults = faults;
    this.#monotonic = monotonic;
  }

  of(destinationId: number, route: string): Outlet {
    const key = `${destinationId} ${route}`;
    const known = this.#outlets.get(key);
    if (known !== undefined) return known;
    const outlet = this.#open(destinationId, route);
    this.#outlets.set(key, outlet);
    return outlet;
  }

  #open(destinationId: number, route: string): Outlet {
    const circuit = new Circuit(this.#share, this.#monotonic);
    return {
      circuit,
      pace: this.#paceOf(destinationId),
      settled: (outcomes) => {
        if (circuit.settled(outcomes)) this.#tell(destinationId, route, circuit);
      },
      heldBack: (waitMs) => ({ kind: "held_back", reason: reasonOf(circuit), waitMs }),
    };
  }

  #paceOf(destinationId: number): Pace {
    const known = this.#paces.get(destinationId);
    if (known !== undefined) return known;
    const pace = new Pace(
      (count, withinMs) => reserve(this.#executor, destinationId, count, withinMs),
      this.#monotonic,
    );
    this.#paces.set(destinationId, pace);
    return pace;
  }

  #tell(destinationId: number, route: string, { state }: Circuit): void {
    const where = { destinationId, ...(route === "" ? {} : { route }) };
    if (state === null) this.#faults.warn(`circuit ${destinationId}`, where, "a destination is sent to again");
    else this.#faults.warn(`circuit ${destinationId}`, { ...where, ...state }, "a destination is not sent to for now");
    const refused = state?.opening === "refused" ? state.reason : null;
    markStopped(this.#executor, destinationId, refused).catch((error: unknown) =>
      this.#faults.warn("stopped", { err: error }, "it can't be said now that a destination refuses"),
    );
  }
}

function reasonOf({ state }: Circuit): string {
  return state === null ? "not sent: the destination is busy" : `not sent: the destination is ${worded[state.opening]}`;
}

const worded = { refused: "refusing its credential", "asked to wait": "asking to wait", silent: "silent" } as const;
