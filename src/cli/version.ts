import { Command } from "commander";
import { version } from "../app.ts";

export function versionCommand(): Command {
  return new Command("version")
    .description("of this program and of Node")
    .option("--json", "one JSON object")
    .addHelpText("after", "\nExample:\n  $ carillon version --json")
    .action(({ json }: { json?: true }) => {
      const versions = { carillon: version, node: process.versions.node };
      process.stdout.write(json ? `${JSON.stringify(versions)}\n` : `carillon ${version} on Node ${versions.node}\n`);
    });
}
