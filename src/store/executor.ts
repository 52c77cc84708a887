import type pg from "pg";
import type { Database } from "./database.ts";

/** A pool or one connection of it: whoever can run a statement. */
export type Executor = Pick<pg.ClientBase, "query">;

/** A statement with a name is parsed once per connection and planned once it has proved worth it. */
export interface Statement {
  readonly name: string;
  readonly text: string;
}

/**
 * Numbers as an array that Postgres reads. The driver writes arrays, too, but quotes and escapes each element: for the
 * thousands of a batch that takes longer than Postgres needs for them.
 */
export function numbers(values: readonly (number | string | null)[]): string {
  return `{${values.map((value) => value ?? "null").join(",")}}`;
}

/**
 * A join condition that only a look-up by key can serve. The fire loop's statements keep one plan for all moments, and
 * one that was made while the tables were small, or empty, would hash them whole: with `=` Postgres is free to, with
 * `= any` of one element it is not.
 */
export function byKey(column: string, value: string): string {
  return `${column} = any (array[${value}])`;
}

/**
 * Runs `run` in one transaction on one connection, for work that is written as verbatim SQL. It is rolled back when
 * `run` throws; a connection that could not even be rolled back is thrown away.
 */
export async function inTransaction<T>(
  db: Pick<Database, "pool">,
  run: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  const client = await db.pool.connect();
  let broken: Error | undefined;
  try {
    await client.query("begin");
    const result = await run(client);
    await client.query("commit");
    return result;
  } catch (error) {
    await client.query("rollback").catch((rollbackError: Error) => {
      broken = rollbackError;
    });
    throw error;
  } finally {
    client.release(broken);
  }
}
