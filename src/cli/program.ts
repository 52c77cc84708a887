import { Command } from "commander";
import { version } from "../app.ts";
import { demoCommand } from "./demo.ts";
import { devCommand } from "./dev.ts";
import { doctorCommand } from "./doctor.ts";
import { foresightCommands } from "./foresight.ts";
import { importCommand } from "./import.ts";
import { inspectCommands } from "./inspect.ts";
import { keysCommand } from "./keys.ts";
import { nodeCommands } from "./node.ts";
import { placesCommand } from "./places.ts";
import { sendTestCommand } from "./send-test.ts";
import { timetablesCommand } from "./timetables.ts";
import { versionCommand } from "./version.ts";

/** Everything that a person types. Parsing throws what a verb throws, or commander's own error. */
export function createProgram(): Command {
  const program = new Command("carillon")
    .description("Reminders to everyone who is due at the same moment, at that moment, once.")
    .version(version);
  const commands = [
    ...nodeCommands(),
    devCommand(),
    demoCommand(),
    importCommand(),
    ...inspectCommands(),
    doctorCommand(),
    sendTestCommand(),
    ...foresightCommands(),
    placesCommand(),
    timetablesCommand(),
    keysCommand(),
    versionCommand(),
  ];
  for (const command of commands) program.addCommand(command);
  pointToHelp(program, "carillon");
  return program;
}

/** Commands that are added don't inherit these settings. */
function pointToHelp(command: Command, name: string): void {
  command.showHelpAfterError(`(see ${name} --help)`).exitOverride();
  for (const below of command.commands) pointToHelp(below, `${name} ${below.name()}`);
}
