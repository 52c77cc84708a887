import { readConfig, requireDatabaseUrl } from "../config.ts";
import { type Database, openDatabase } from "../store/database.ts";
import { assertMigrated } from "../store/migrate.ts";

/** Runs one command against the database that the environment names, and closes it. */
export async function withDatabase<T>(run: (db: Database) => Promise<T>): Promise<T> {
  const config = readConfig(process.env);
  await using db = openDatabase({ url: requireDatabaseUrl(config), applicationName: "carillon cli", max: 2 });
  await assertMigrated(db);
  return await run(db);
}
