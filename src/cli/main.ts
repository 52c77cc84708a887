import { Command } from "commander";
import { version } from "../app.ts";
import { CarillonError } from "../errors.ts";
import { demoCommand } from "./demo.ts";
import { devCommand } from "./dev.ts";
import { exitCodeOf } from "./exit-code.ts";
import { inspectCommands } from "./inspect.ts";
import { keysCommand } from "./keys.ts";
import { nodeCommands } from "./node.ts";
import { versionCommand } from "./version.ts";

const program = new Command("carillon")
  .description("Reminders to everyone who is due at the same moment, at that moment, once.")
  .version(version)
  .showHelpAfterError("(see carillon --help)");

const commands = [
  ...nodeCommands(),
  devCommand(),
  demoCommand(),
  ...inspectCommands(),
  keysCommand(),
  versionCommand(),
];
for (const command of commands) program.addCommand(command);

try {
  await program.parseAsync();
} catch (error) {
  const said = error instanceof CarillonError ? `${error.message} (${error.code})` : String(error);
  process.stderr.write(`carillon: ${said}\n`);
  process.exitCode = exitCodeOf(error);
}
