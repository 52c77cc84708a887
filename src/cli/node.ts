import { Command } from "commander";
import { type NodeDeps, startApiNode, startHealth, startWorkerNode } from "../app.ts";
import { readConfig, requireDatabaseUrl } from "../config.ts";
import { runUntilSignal, untilAborted } from "../lifecycle.ts";
import { createLogger } from "../logger.ts";
import { migrate } from "../store/migrate.ts";

/** The verbs that run a node: they take their configuration from the environment (docs/operating.md). */
export function nodeCommands(): Command[] {
  return [
    new Command("migrate")
      .description("bring the database's schema up to date")
      .addHelpText("after", example("DATABASE_URL=postgres://carillon:secret@db:5432/carillon carillon migrate"))
      .action(runMigrate),
    new Command("api")
      .description("serve the HTTP API")
      .addHelpText("after", example("HOST=0.0.0.0 PORT=8080 carillon api"))
      .action(() => runNode(async (deps) => void (await startApiNode(deps)))),
    new Command("worker")
      .description("plan, claim groups and deliver them; any number may run on one database")
      .addHelpText("after", example("CARILLON_NODE_NAME=worker-1 carillon worker"))
      .action(() => runNode(async (deps) => void (await startHealth(await startWorkerNode(deps), deps)))),
    new Command("all")
      .description("API and worker in one process")
      .addHelpText("after", example("carillon migrate && carillon all"))
      .action(() =>
        runNode(async (deps) => {
          await startWorkerNode(deps);
          await startApiNode(deps);
        }),
      ),
  ];
}

function example(line: string): string {
  return `\nExample:\n  $ ${line}\n\nIt is set up by environment variables: see docs/operating.md.`;
}

async function runMigrate(): Promise<void> {
  const config = readConfig(process.env);
  const { applied } = await migrate(requireDatabaseUrl(config), { log: createLogger(config.logLevel, "migrate") });
  process.stdout.write(applied.length === 0 ? "The schema is up to date.\n" : `Applied ${applied.join(", ")}.\n`);
}

async function runNode(start: (deps: NodeDeps) => Promise<void>): Promise<void> {
  const config = readConfig(process.env);
  const logger = createLogger(config.logLevel, config.nodeName);
  process.exitCode = await runUntilSignal(
    async (lifecycle) => {
      await start({ config, lifecycle, logger });
      if (process.connected)
        process.once("disconnect", () => lifecycle.stop("the process that started this one is gone"));
      process.send?.("ready");
      await untilAborted(lifecycle.stopping);
    },
    { log: logger, stopLimitMs: config.worker.drainMs + 10_000 },
  );
  // a parent that listens would keep this process alive
  if (process.connected) process.disconnect();
}
