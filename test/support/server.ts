import pg from "pg";
import { startEmbeddedPostgres } from "../../src/cli/embedded-postgres.ts";

/** The Postgres that a run of the tests uses. */
export interface TestServer extends AsyncDisposable {
  /** of its maintenance database, as a role that may create databases */
  readonly url: string;
  /** which it is, for the one line that says so */
  readonly kind: string;
}

/** TEST_DATABASE_URL; else a container, where a Docker engine answers; else Postgres from the package registry. */
export async function chooseServer(): Promise<TestServer> {
  const given = process.env.TEST_DATABASE_URL;
  if (given !== undefined && given !== "") {
    return { url: given, kind: "the server of TEST_DATABASE_URL", [Symbol.asyncDispose]: async () => undefined };
  }
  return (await startContainer()) ?? (await startEmbedded());
}

async function startContainer(): Promise<TestServer | undefined> {
  const { PostgreSqlContainer } = await import("@testcontainers/postgresql");
  const { getContainerRuntimeClient } = await import("testcontainers");
  const answers = await getContainerRuntimeClient().then(
    () => true,
    () => false,
  );
  if (!answers) return undefined;
  const container = await new PostgreSqlContainer("postgres:18")
    .withCommand(["postgres", "-c", "fsync=off", "-c", "max_connections=500"])
    .start();
  return {
    url: container.getConnectionUri(),
    kind: "postgres:18 in a container",
    [Symbol.asyncDispose]: async () => {
      await container.stop();
    },
  };
}

async function startEmbedded(): Promise<TestServer> {
  const server = await startEmbeddedPostgres();
  return { url: server.url(), kind: "embedded Postgres", [Symbol.asyncDispose]: () => server.stop() };
}

/** The same server, another database. */
export function urlOf(serverUrl: string, database: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${encodeURIComponent(database)}`;
  return url.href;
}

/** Runs one statement on a connection of its own, as `create database` wants it. */
export async function runStatement(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
