import { CarillonError } from "../errors.ts";
import type { Executor } from "./executor.ts";

export type DeploymentKind = "production" | "development" | "demo";

/** What a database is for. The demo and the development commands work on one that is marked for them, or empty. */
export async function markDeployment(executor: Executor, kind: DeploymentKind): Promise<void> {
  await executor.query("update carillon.deployment set kind = $1", [kind]);
}

/**
 * Before a database is migrated and filled for the demo or for development.
 * @throws CarillonError not_a_demo_database where it holds anything else
 */
export async function assertEmptyOrMarked(executor: Executor, kind: DeploymentKind): Promise<void> {
  const { rows } = await executor.query<{ ours: boolean; tables: number }>(
    `select to_regclass('carillon.deployment') is not null as ours,
       (select count(*)::int from pg_tables where schemaname not in ('pg_catalog', 'information_schema')) as tables`,
  );
  const [found] = rows;
  if (found === undefined || (!found.ours && found.tables === 0)) return;
  if (found.ours) {
    const marked = await executor.query("select from carillon.deployment where kind = $1", [kind]);
    if (marked.rowCount === 1) return;
  }
  throw new CarillonError(
    "not_a_demo_database",
    `The database is neither empty nor marked for ${kind}; name an empty one, which will be filled and marked.`,
  );
}
