import { Command, InvalidArgumentError, Option } from "commander";
import { createKey, listKeys, revokeKey, type Scope, scopes } from "../store/api-keys.ts";
import { tableOf } from "./table.ts";
import { withDatabase } from "./with-database.ts";

interface Format {
  readonly json?: true;
}

/** `carillon keys`: API keys are made here, by whoever may reach the database, and nowhere else. */
export function keysCommand(): Command {
  const create = new Command("create")
    .description("make a key and print its token, once")
    .requiredOption("--name <name>", "what people know it by")
    .addOption(new Option("--scope <scopes...>", "what it may do").choices(scopes).default(["subscribe"], "subscribe"))
    .option("--json", "one JSON object")
    .addHelpText("after", "\nExample:\n  $ carillon keys create --name backend --scope subscribe")
    .action(async ({ name, scope, json }: Format & { name: string; scope: Scope[] }) => {
      const key = await withDatabase((db) => createKey(db, { name, scopes: scope }));
      process.stdout.write(json ? `${JSON.stringify(key)}\n` : `${key.token}\n`);
      if (!json) process.stderr.write("Keep it safe: it is not stored and can't be shown again.\n");
    });
  const list = new Command("list")
    .description("list keys, without their tokens")
    .option("--json", "an array of objects")
    .addHelpText("after", "\nExample:\n  $ carillon keys list --json")
    .action(async ({ json }: Format) => {
      const keys = await withDatabase(listKeys);
      if (json) process.stdout.write(`${JSON.stringify(keys)}\n`);
      else {
        const rows = keys.map((key) => [
          key.keyId,
          key.name,
          key.scopes.join(", "),
          key.createdAt,
          key.lastUsedAt,
          key.revokedAt,
        ]);
        process.stdout.write(tableOf(["key", "name", "scopes", "created", "last used", "revoked"], rows));
      }
    });
  const revoke = new Command("revoke")
    .description("revoke a key; requests with it are refused from now on")
    .argument("<key>", "its number", (text) => {
      if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("It must be a number; carillon keys list shows it.");
      return Number(text);
    })
    .addHelpText("after", "\nExample:\n  $ carillon keys revoke 3")
    .action(async (keyId: number) => {
      const key = await withDatabase((db) => revokeKey(db, keyId));
      process.stdout.write(`Revoked ${key.keyId} (${key.name}).\n`);
    });
  return new Command("keys").description("API keys").addCommand(create).addCommand(list).addCommand(revoke);
}
