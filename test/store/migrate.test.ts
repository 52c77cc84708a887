import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { printSchema } from "../../scripts/generate-schema.ts";
import { toCarillonError } from "../../src/store/database.ts";
import { assertMigrated, installJobSchema, migrate } from "../../src/store/migrate.ts";
import { createEmptyDatabase, createTestDatabase } from "../support/database.ts";

const packaged = fileURLToPath(new URL("../../db/", import.meta.url));

/** A folder of migrations and views of a test's own. */
function scratch(files: Record<string, string>) {
  const directory = mkdtempSync(join(tmpdir(), "carillon-migrate-"));
  for (const part of ["migrations", "views"]) mkdirSync(join(directory, part));
  const write = (name: string, text: string) => writeFileSync(join(directory, name), text);
  for (const [name, text] of Object.entries(files)) write(name, text);
  return { directory, write, [Symbol.dispose]: () => rmSync(directory, { recursive: true }) };
}

const bells = { "migrations/0001_bells.sql": "create table carillon.bells (bell_id integer primary key, tone text);" };
const tones = { "views/10_tones.sql": "create view carillon.tones as select tone from carillon.bells;" };

describe("migrate", () => {
  it("applies everything once, in order, and then finds nothing to do", async () => {
    await using test = await createEmptyDatabase();
    const { applied } = await migrate(test.url);
    expect(applied).toEqual([...readdirSync(join(packaged, "migrations")).sort(), "views"]);
    expect((await migrate(test.url)).applied).toEqual([]);
    await assertMigrated(test.database);
  });

  it("lets programs that start together wait for each other", async () => {
    await using test = await createEmptyDatabase();
    const runs = await Promise.all([1, 2, 3].map(() => migrate(test.url)));
    expect(runs.map(({ applied }) => applied.length > 0).sort()).toEqual([false, false, true]);
  });

  it("stops waiting for another program when it is aborted", async () => {
    await using test = await createEmptyDatabase();
    using folder = scratch({ "migrations/0001_wait.sql": "select pg_advisory_lock(1);" });
    // holds the migration lock for as long as lock 1 is held here
    const holder = await test.database.pool.connect();
    await holder.query("select pg_advisory_lock(1)");
    const first = migrate(test.url, { directory: folder.directory }).catch((error: unknown) => error);
    const abort = new AbortController();
    await untilWaiting(test.database.pool);
    const second = migrate(test.url, { directory: folder.directory, signal: abort.signal });
    abort.abort(new Error("changed my mind"));
    await expect(second).rejects.toThrow("changed my mind");
    await holder.query("select pg_advisory_unlock(1)");
    holder.release();
    expect(await first).toMatchObject({ applied: ["0001_wait.sql", "views"] });
  });

  it("leaves nothing of a migration that fails, and goes on from there", async () => {
    await using test = await createEmptyDatabase();
    using folder = scratch({ ...bells, "migrations/0002_bad.sql": "create table carillon.half (); select 1 / 0;" });
    await expect(migrate(test.url, folder)).rejects.toThrow("0002_bad.sql: division by zero");
    expect((await test.database.pool.query("select to_regclass('carillon.half') as half")).rows).toEqual([
      { half: null },
    ]);
    folder.write("migrations/0002_bad.sql", "create table carillon.whole ();");
    expect((await migrate(test.url, folder)).applied).toEqual(["0002_bad.sql", "views"]);
  });

  it("refuses a file that was changed after it was applied", async () => {
    await using test = await createEmptyDatabase();
    using folder = scratch(bells);
    await migrate(test.url, folder);
    folder.write("migrations/0001_bells.sql", "create table carillon.bells (bell_id bigint primary key);");
    const refused = expect.objectContaining({
      code: "schema_out_of_date",
      message: expect.stringMatching("0001_bells"),
    });
    await expect(migrate(test.url, folder)).rejects.toEqual(refused);
    await expect(assertMigrated(test.database, folder.directory)).rejects.toEqual(refused);
  });

  it.each(["migrations/bells.sql", "migrations/0001_again.sql"])("refuses the file name %s", async (name) => {
    await using test = await createEmptyDatabase();
    using folder = scratch({ ...bells, [name]: "select 1;" });
    await expect(migrate(test.url, folder)).rejects.toMatchObject({ code: "bad_configuration" });
  });

  it("makes views anew when one of them or something below them changed, and only then", async () => {
    await using test = await createEmptyDatabase();
    using folder = scratch({
      ...bells,
      ...tones,
      "views/20_high_tones.sql": "create view carillon.high_tones as select tone from carillon.tones where tone > 'f';",
    });
    await migrate(test.url, folder);
    expect((await migrate(test.url, folder)).applied).toEqual([]);
    folder.write("views/10_tones.sql", "create view carillon.tones as select tone, bell_id from carillon.bells;");
    expect((await migrate(test.url, folder)).applied).toEqual(["views"]);
    folder.write("migrations/0002_long_tones.sql", "alter table carillon.bells alter column tone type varchar(10);");
    expect((await migrate(test.url, folder)).applied).toEqual(["0002_long_tones.sql", "views"]);
    await test.database.pool.query("select tone, bell_id from carillon.tones join carillon.high_tones using (tone)");
  });

  it("does not drop what others built on our views", async () => {
    await using test = await createEmptyDatabase();
    using folder = scratch({ ...bells, ...tones });
    await migrate(test.url, folder);
    await test.database.pool.query("create view public.theirs as select * from carillon.tones");
    folder.write("views/10_tones.sql", "create view carillon.tones as select tone, bell_id from carillon.bells;");
    await expect(migrate(test.url, folder)).rejects.toThrow(/depend/);
    await test.database.pool.query("select tone from public.theirs");
  });
});

describe("assertMigrated", () => {
  it("refuses an empty database and one that lacks a migration, and takes one that is ahead", async () => {
    await using test = await createEmptyDatabase();
    await expect(assertMigrated(test.database)).rejects.toMatchObject({ code: "schema_out_of_date" });
    using folder = scratch({ ...bells, "migrations/0002_more.sql": "create table carillon.more ();" });
    using older = scratch(bells);
    await migrate(test.url, older);
    await expect(assertMigrated(test.database, folder.directory)).rejects.toThrow(/0002_more\.sql/);
    await migrate(test.url, folder);
    await assertMigrated(test.database, older.directory);
  });

  it("has the missing table said in words by toCarillonError too", async () => {
    await using test = await createEmptyDatabase();
    const fault = await test.database.pool.query("select from carillon.topics").catch(toCarillonError);
    expect(fault).toMatchObject({ code: "schema_out_of_date" });
  });
});

describe("db/schema.sql", () => {
  it("makes the same database as the migrations and views do", async () => {
    await using migrated = await createTestDatabase();
    await using loaded = await createEmptyDatabase();
    const schema = readFileSync(join(packaged, "schema.sql"), "utf8");
    const fromMigrations = await printSchema(migrated.url);
    expect(schema === fromMigrations, "db/schema.sql is not what the migrations make: run npm run generate").toBe(true);
    await installJobSchema(loaded.database.pool);
    await loaded.database.pool.query(schema);
    expect(await printSchema(loaded.url)).toBe(fromMigrations);
  });

  it("is printed differently when anything of the schema differs", async () => {
    await using test = await createEmptyDatabase();
    using folder = scratch({ ...bells, ...tones });
    await migrate(test.url, folder);
    const seen = new Set([await printSchema(test.url)]);
    const changes = [
      "alter table carillon.bells add column weight_kg numeric(6, 1) not null default 1",
      "alter table carillon.bells alter column weight_kg drop not null",
      "alter table carillon.bells alter column weight_kg set default 2",
      "alter table carillon.bells alter column tone set storage main",
      "alter table carillon.bells add check (bell_id > 0)",
      "alter table carillon.bells set (fillfactor = 50)",
      "create index on carillon.bells (tone) where tone is not null",
      "comment on table carillon.bells is 'bronze'",
      "comment on column carillon.bells.tone is 'by ear'",
      "create table carillon.towers (bell_id integer references carillon.bells) partition by hash (bell_id)",
      "create function carillon.ring() returns trigger language plpgsql as 'begin return new; end'",
      "create trigger ring before insert on carillon.bells for each row execute function carillon.ring()",
      "create or replace view carillon.tones as select tone from carillon.bells where tone <> ''",
      "create type carillon.metal as enum ('bronze')",
      "alter function carillon.ring() set search_path = pg_catalog",
      "revoke execute on function carillon.ring() from public",
    ];
    for (const change of changes) {
      await test.database.pool.query(change);
      const printed = await printSchema(test.url);
      expect(seen, change).not.toContain(printed);
      seen.add(printed);
    }
  });

  it("has every view from db/views", () => {
    for (const name of readdirSync(join(packaged, "migrations"))) {
      const text = readFileSync(join(packaged, "migrations", name), "utf8");
      // a view made by a migration would be dropped with the others and not come back
      expect(text, name).not.toMatch(/\bcreate( or replace)? view\b/i);
    }
  });
});

async function untilWaiting(pool: { query(text: string): Promise<{ rows: unknown[] }> }): Promise<void> {
  for (;;) {
    const { rows } = await pool.query(
      `select from pg_locks
        where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())`,
    );
    if (rows.length > 0) return;
  }
}
