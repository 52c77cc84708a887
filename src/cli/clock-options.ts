import { InvalidArgumentError } from "commander";
import type { ClockReading } from "../clock.ts";
import { CarillonError } from "../errors.ts";
import { readClocks, resetDevelopmentClock, setDevelopmentClock } from "../store/clock.ts";
import type { Executor } from "../store/executor.ts";
import { parseInstant } from "../timetable/rule-check.ts";
import { paceOf } from "./status.ts";
import { timeOf } from "./table.ts";

/** `--now` and `--speed`, as `dev` and `demo` take them. */
export interface ClockOptions {
  /** epoch milliseconds; without it real time */
  readonly now?: number;
  /** seconds of carillon.clock() in a real one; without it 1 */
  readonly speed?: number;
}

const slowest = 0.000001;
const fastest = 3600;

/**
 * Has a database's clock go as the options say, and by real time without any.
 *
 * @throws CarillonError not_a_development_database where the database is not marked for it
 */
export async function liveBy(executor: Executor, { now, speed }: ClockOptions): Promise<ClockReading> {
  if (now === undefined && speed === undefined) await resetDevelopmentClock(executor);
  else await setDevelopmentClock(executor, { nowMs: now ?? null, speed: speed ?? 1 });
  return readClocks(executor);
}

/** A sentence about the clock that is lived by, for the start. */
export function clockLine({ clockMs, realMs, speed }: ClockReading): string {
  if (clockMs === realMs && speed === 1) return "The clock is real time.";
  return `A development clock: it shows ${timeOf(new Date(Math.floor(clockMs / 1000) * 1000))}, and goes ${paceOf(speed)}.`;
}

/** An option's value: an instant such as 2027-03-28T00:30Z. The seconds may be left out. */
export function instantOption(text: string): number {
  try {
    return Date.parse(parseInstant(text.replace(/(T\d\d:\d\d)(?=Z|[+-]|$)/i, "$1:00"), ""));
  } catch (error) {
    if (!(error instanceof CarillonError)) throw error;
    throw new InvalidArgumentError(`It must be an instant such as 2027-03-28T00:30Z. ${error.message}.`);
  }
}

/** An option's value: how many times as fast as real time. */
export function speedOption(text: string): number {
  const speed = /^\d{1,9}(\.\d{1,9})?$/.test(text) ? Number(text) : Number.NaN;
  if (speed >= slowest && speed <= fastest) return speed;
  throw new InvalidArgumentError(`It must be a number from ${slowest.toFixed(6)} to ${fastest}.`);
}
