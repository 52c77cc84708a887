import { randomBytes } from "node:crypto";
import type { TestProject } from "vitest/node";
import { migrate } from "../../src/store/migrate.ts";
import { chooseServer, runStatement, urlOf } from "./server.ts";

declare module "vitest" {
  interface ProvidedContext {
    readonly postgres: {
      readonly serverUrl: string;
      /** a migrated database to copy; or why there is none */
      readonly template: { readonly name: string } | { readonly fault: string };
    };
  }
}

/** One server and one migrated template for the whole run; each test file copies the template. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = await chooseServer();
  const name = `carillon_test_template_${randomBytes(4).toString("hex")}`;
  await runStatement(server.url, `create database ${name}`);
  // tests that need no database should run however broken the migrations are; those that need one then say why not
  const fault = await migrate(urlOf(server.url, name)).then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? (error.stack ?? error.message) : String(error)),
  );
  project.provide("postgres", {
    serverUrl: server.url,
    template: fault === undefined ? { name } : { fault },
  });
  console.log(`Test databases: ${server.kind}.`);
  return async () => {
    await runStatement(server.url, `drop database ${name} with (force)`);
    await server[Symbol.asyncDispose]();
  };
}
