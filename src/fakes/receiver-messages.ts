import type { ClockReading } from "../clock.ts";
import type { Fault } from "./webhook-receiver.ts";

/** How webhook-receiver-process.ts is set up: its one argument, as JSON. Functions can't travel, so faults are data. */
export interface ReceiverProcessConfig {
  readonly port?: number;
  readonly host?: string;
  readonly delayMs?: number;
  readonly logFile?: string;
  readonly secrets?: readonly string[];
  /** each nth request (counted from 1) meets this fault; the others are accepted */
  readonly faultEvery?: { readonly nth: number; readonly fault: Fault };
  /** what it prints is told by this clock; default: real time */
  readonly clock?: ClockReading;
  /** say `reached` when so many reminders are recorded */
  readonly notifyAt?: number;
}

/** What the process says to its parent. */
export type FromReceiver =
  | { readonly kind: "ready"; readonly url: string }
  /** every 100 ms while it changes */
  | { readonly kind: "progress"; readonly received: number }
  | { readonly kind: "reached"; readonly count: number; readonly atMs: number };

/** What the parent may say to it. */
export type ToReceiver = { readonly kind: "notify_at"; readonly count: number } | { readonly kind: "stop" };
