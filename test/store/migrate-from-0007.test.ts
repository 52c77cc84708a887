import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { migrate } from "../../src/store/migrate.ts";
import { createEmptyDatabase } from "../support/database.ts";

const packaged = fileURLToPath(new URL("../../db/", import.meta.url));

/** The migrations up to and including a number, without views. */
function migrationsThrough(last: string) {
  const directory = mkdtempSync(join(tmpdir(), "carillon-earlier-"));
  for (const part of ["migrations", "views"]) mkdirSync(join(directory, part));
  for (const name of readdirSync(join(packaged, "migrations"))) {
    if (name.slice(0, 4) <= last) cpSync(join(packaged, "migrations", name), join(directory, "migrations", name));
  }
  return { directory, [Symbol.dispose]: () => rmSync(directory, { recursive: true }) };
}

it("a database of the first version keeps its people, its schedules and its ledger", async () => {
  await using test = await createEmptyDatabase();
  using earlier = migrationsThrough("0007");
  await migrate(test.url, earlier);
  const { pool } = test.database;
  await pool.query(
    `select carillon.make_ledger_day('2026-03-10');
     insert into carillon.users (user_id) select 'user-' || i from generate_series(1, 3) i;
     insert into carillon.endpoints (hash_slot, user_number, ordinal, channel, address)
       select hash_slot, user_number, 1, 'memory', user_id from carillon.users;
     insert into carillon.topics (name) values ('prayer');
     insert into carillon.timetables (name, kind, parameters) values ('mine', 'prayer', '{"method": "Turkey"}');
     insert into carillon.places (key, name, latitude, longitude, zone, timetable_id)
       select 'ist', 'Istanbul', 41, 29, 'Europe/Istanbul', timetable_id from carillon.timetables where name = 'mine';
     insert into carillon.schedules (topic_id, rule, place_id)
       select 1, carillon.canonical_rule(jsonb_build_object(
         'kind', 'timetable', 'placeId', place_id, 'slot', 'fajr', 'offsetMinutes', -20)), place_id from carillon.places;
     insert into carillon.subscriptions (schedule_id, hash_slot, user_number, subscribed_at)
       select 1, hash_slot, user_number, '2026-01-01' from carillon.users;
     insert into carillon.nodes (name, role, pid, version, slots) values ('old', 'worker', 1, '0', 1);
     insert into carillon.time_buckets (schedule_id, topic_id, occurrence, due_at, expires_at, cut_at, closed_at, closed_as)
       values (1, 1, '1/fajr/2026-03-10-20m', '2026-03-10T03:00Z', '2026-03-10T04:00Z', now(), now(), 'done');
     insert into carillon.groups (bucket_id, group_number, first_slot, last_slot, mark_slot, not_before)
       values (1, 0, 0, 65535, 0, now());
     insert into carillon.chunks (due_day, bucket_id, group_number, chunk_number, epoch, node_id, attempt, intent_at,
         first_slot, first_user, last_slot, last_user, user_numbers, ordinals)
       select '2026-03-10', 1, 0, 0, 1, 1, 0, '2026-03-10T03:00Z', 0, 1, 65535, 3, array[1, 2, 3]::bigint[], '{1, 1, 1}';
     insert into carillon.outcomes (due_day, bucket_id, group_number, chunk_number, epoch, part, recorded_at, codes,
         after_due_ms)
       values ('2026-03-10', 1, 0, 0, 1, 0, now(), '\\x010a01', '{5, 6, 7}');`,
  );
  await migrate(test.url);

  const deliveries = await pool.query(
    "select user_number, ordinal, state, lateness_ms from carillon.deliveries where bucket_id = 1 order by user_number",
  );
  expect(deliveries.rows).toEqual([
    { user_number: "1", ordinal: 1, state: "delivered", lateness_ms: 5 },
    { user_number: "2", ordinal: 1, state: "failed", lateness_ms: null },
    { user_number: "3", ordinal: 1, state: "delivered", lateness_ms: 7 },
  ]);
  const schedules = await pool.query("select schedule_id, rule from carillon.schedules");
  expect(schedules.rows).toEqual([
    { schedule_id: "1", rule: { kind: "timetable", placeId: 1, slot: "fajr", offsetsMinutes: [-20] } },
  ]);
  const versions = await pool.query(
    `select v.version, v.effective_from, v.parameters from carillon.timetable_versions v
     join carillon.timetables t using (timetable_id) where t.name = 'mine'`,
  );
  expect(versions.rows).toEqual([{ version: 1, effective_from: null, parameters: { method: "Turkey" } }]);
  // old and new days of the ledger are laid out alike
  await pool.query("select carillon.make_ledger_day('2026-03-11')");
  const settings = await pool.query(
    `select c.relname, array_to_string(c.reloptions, ',') as options,
       (select string_agg(a.attname || ' ' || a.attstorage::text, ', ' order by a.attname) from pg_attribute a
        where a.attrelid = c.oid and a.attname in ('user_numbers', 'ordinals', 'refused', 'after_due_ms')) as storage
     from pg_class c where c.relkind = 'r' and c.relname ~ '^(chunks|outcomes)_20' order by 1`,
  );
  const chunks = { options: "toast_tuple_target=8160", storage: "ordinals e, refused m, user_numbers e" };
  const outcomes = { options: null, storage: "after_due_ms m" };
  expect(settings.rows).toEqual([
    { relname: "chunks_20260310", ...chunks },
    { relname: "chunks_20260311", ...chunks },
    { relname: "outcomes_20260310", ...outcomes },
    { relname: "outcomes_20260311", ...outcomes },
  ]);
});
