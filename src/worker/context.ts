import type { Channel } from "../channels/channel.ts";
import type { Logger, RateLimitedLogger } from "../logger.ts";
import type { Database } from "../store/database.ts";
import type { DestinationBook } from "./destination-book.ts";
import type { Heartbeat } from "./heartbeat.ts";
import type { MessageBook } from "./message-book.ts";
import type { PgClock } from "./pg-clock.ts";
import type { Statements } from "./statements.ts";
import type { Window } from "./window.ts";

/** What all groups of one worker share. */
export interface WorkerContext {
  readonly db: Database;
  readonly statements: Statements;
  readonly nodeId: number;
  readonly nodeName: string;
  readonly clock: PgClock;
  readonly heartbeat: Heartbeat;
  readonly channels: ReadonlyMap<string, Channel>;
  readonly destinations: DestinationBook;
  readonly messages: MessageBook;
  readonly windows: { readonly at_least_once: Window; readonly at_most_once: Window };
  readonly leaseMs: number;
  readonly sendTimeoutMs: number;
  readonly flushMs: number;
  /** members of a chunk at most */
  readonly chunk: number;
  /** drawn evenly from [0, 1) */
  readonly random: () => number;
  readonly logger: Logger;
  readonly faults: RateLimitedLogger;
  /** aborted: begin nothing new, give back what can be given back */
  readonly draining: AbortSignal;
  /** aborted: the drain is over, what is still under way is given up */
  readonly abandon: AbortSignal;
}
