import { Command, CommanderError } from "commander";
import { version } from "../app.ts";
import { demoCommand } from "./demo.ts";
import { devCommand } from "./dev.ts";
import { exitCodes } from "./exit-code.ts";
import { explain } from "./explain.ts";
import { inspectCommands } from "./inspect.ts";
import { keysCommand } from "./keys.ts";
import { nodeCommands } from "./node.ts";
import { versionCommand } from "./version.ts";

const program = new Command("carillon")
  .description("Reminders to everyone who is due at the same moment, at that moment, once.")
  .version(version);

const commands = [
  ...nodeCommands(),
  devCommand(),
  demoCommand(),
  ...inspectCommands(),
  keysCommand(),
  versionCommand(),
];
for (const command of commands) program.addCommand(command);
pointToHelp(program, "carillon");

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // it has said what it had to say: help, which was asked for, or what is wrong with the command line
    process.exitCode = error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  } else {
    const { text, exitCode } = explain(error);
    process.stderr.write(`carillon: ${text}\n`);
    process.exitCode = exitCode;
  }
}

/** Commands that are added don't inherit these settings. */
function pointToHelp(command: Command, name: string): void {
  command.showHelpAfterError(`(see ${name} --help)`).exitOverride();
  for (const below of command.commands) pointToHelp(below, `${name} ${below.name()}`);
}
