import type { ClockReading } from "../clock.ts";
import { CarillonError } from "../errors.ts";
import { codeOf } from "./database.ts";
import type { Executor } from "./executor.ts";

/** What carillon.clock() shows, and how it runs against real time. */
export async function readClocks(executor: Executor): Promise<ClockReading> {
  const { rows } = await executor.query<{ clock_ms: number; real_ms: number; speed: number }>(
    `select (extract(epoch from now.at) * 1000)::float8 as clock_ms,
       (extract(epoch from carillon.real_time(now.at)) * 1000)::float8 as real_ms, carillon.clock_speed() as speed
     from (select carillon.clock() as at offset 0) now`,
  );
  const [row] = rows;
  if (row === undefined) throw new CarillonError("internal", "carillon.clock() gave nothing.");
  return { clockMs: row.clock_ms, realMs: row.real_ms, speed: row.speed };
}

export interface DevelopmentClock {
  /** epoch milliseconds; null: real time */
  readonly nowMs: number | null;
  /** seconds of it in a real second, from 0.000001 to 3,600 */
  readonly speed: number;
}

/**
 * Has everything that asks carillon.clock() live at another time and pace from now on. Nodes that run take it up with
 * their next heartbeat.
 *
 * @throws CarillonError not_a_development_database where the database isn't marked for development or demo, and
 *   bad_configuration for a time or a speed out of range; then nothing has changed
 */
export async function setDevelopmentClock(executor: Executor, { nowMs, speed }: DevelopmentClock): Promise<void> {
  try {
    await executor.query(
      "select carillon.set_development_clock(coalesce(to_timestamp($1::float8 / 1000), clock_timestamp()), $2::float8)",
      [nowMs, speed],
    );
  } catch (error) {
    throw inWords(error);
  }
}

/** Has carillon.clock() show real time again. @returns whether it did not */
export async function resetDevelopmentClock(executor: Executor): Promise<boolean> {
  const { rows } = await executor.query<{ was_set: boolean }>("select carillon.reset_development_clock() as was_set");
  return rows[0]?.was_set === true;
}

/** As the function carillon.set_development_clock raises it. */
const notMarked = "UD001";
const invalidParameter = "22023";

function inWords(error: unknown): unknown {
  if (codeOf(error) === notMarked) {
    return new CarillonError(
      "not_a_development_database",
      "The database is not marked for development: its clock shows real time, and nothing else.",
      { cause: error },
    );
  }
  if (codeOf(error) === invalidParameter && error instanceof Error) {
    return new CarillonError("bad_configuration", `The development clock can't be set: ${error.message}.`, {
      cause: error,
    });
  }
  return error;
}
