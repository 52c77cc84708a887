import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { askQuestion, listQuestions, parseQuestions, readQuestions } from "../../src/cli/sql.ts";
import { durationOf, showStatus } from "../../src/cli/status.ts";
import { finalStateOf, isOutcomeCode, outcomeCodes, outcomeMeanings } from "../../src/reminder/outcome-code.ts";
import type { Database } from "../../src/store/database.ts";
import { ask } from "../../src/store/inspection.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { type PlayedBucket, playBucket } from "../support/played-bucket.ts";

let test: TestDatabase;
let db: Database;
let played: PlayedBucket;

beforeAll(async () => {
  test = await createTestDatabase();
  db = test.database;
  played = await playBucket(db);
});
afterAll(() => test[Symbol.asyncDispose]());

/** Runs with changes to the database that are gone afterwards. */
async function tryOut(
  run: (change: (text: string, values?: unknown[]) => Promise<Row[]>) => Promise<void>,
): Promise<void> {
  const client = await db.pool.connect();
  try {
    await client.query("begin");
    await run(async (text, values = []) => (await client.query<Row>(text, values)).rows);
  } finally {
    await client.query("rollback");
    client.release();
  }
}
type Row = Record<string, unknown>;

function written(): { write(text: string): boolean; text(): string } {
  let text = "";
  return {
    write: (more) => {
      text += more;
      return true;
    },
    text: () => text,
  };
}

describe("the words of the ledger", () => {
  it("mean the same in the table and in the program", async () => {
    const { rows } = await db.pool.query<{
      code: number;
      state: string;
      reason: string;
      final: boolean;
      in_doubt: boolean;
    }>("select * from carillon.outcome_codes order by code");
    const ours = Object.entries(outcomeMeanings).map(([code, { state, reason, inDoubt }]) => ({
      code: Number(code),
      state,
      reason,
      final: state !== "deferred",
      in_doubt: inDoubt,
    }));
    expect(rows).toEqual(ours);
    expect(Object.values(outcomeCodes)).toEqual(rows.map(({ code }) => code));
    for (const { code, state, final } of rows) {
      if (!isOutcomeCode(code)) throw new Error(`${code} is unknown`);
      expect(finalStateOf(code)).toBe(final ? state : null);
    }
    expect(isOutcomeCode(0)).toBe(false);
  });
});

describe("every view", () => {
  it("and each of its columns says what it is", async () => {
    const { rows } = await db.pool.query<{ name: string }>(
      `select c.relname || coalesce('.' || a.attname, '') as name
       from pg_class c
       join lateral (
         select attnum, attname from pg_attribute where attrelid = c.oid and attnum > 0 union all select 0, null) a on true
       where c.relnamespace = 'carillon'::regnamespace and c.relkind = 'v' and col_description(c.oid, a.attnum) is null
         and (a.attnum > 0 or obj_description(c.oid) is null)`,
    );
    expect(rows).toEqual([]);
  });
});

describe("groups", () => {
  const reopen = `update carillon.groups set finished_at = null, claim_token = null, lease_until = null, halted_at = null,
    epoch = 0, not_before = clock_timestamp() - interval '1 minute' where bucket_id = $1 and group_number = 0`;
  const group = (set: string) => `update carillon.groups set ${set} where bucket_id = $1 and group_number = 0`;
  const ahead =
    "update carillon.time_buckets set due_at = carillon.clock() + interval '5 seconds', expires_at = carillon.clock() + interval '1 minute' where bucket_id = $1";
  const current =
    "update carillon.time_buckets set expires_at = carillon.clock() + interval '1 minute' where bucket_id = $1";
  const lease = (seconds: number) =>
    `claim_token = gen_random_uuid(), lease_until = clock_timestamp() + interval '${seconds} seconds', epoch = 2`;

  it.each([
    ["waiting", ahead, "epoch = 0"],
    ["armed", ahead, lease(8)],
    ["firing", current, lease(8)],
    ["held back", current, "epoch = 2, not_before = clock_timestamp() + interval '5 seconds'"],
    ["overdue", current, "epoch = 0"],
    ["abandoned", current, lease(-1)],
    ["halted", current, "halted_at = clock_timestamp()"],
    // an expired one is still to be recorded, paused or not
    ["overdue", "select $1::bigint", "halted_at = clock_timestamp()"],
  ])("are %s", async (state, bucketText, set) => {
    await tryOut(async (change) => {
      await change(bucketText, [played.bucketId]);
      await change(reopen, [played.bucketId]);
      await change(group(set), [played.bucketId]);
      expect(await change("select state, bucket_id, group_number from carillon.open_groups")).toEqual([
        { state, bucket_id: played.bucketId, group_number: 0 },
      ]);
      const states = await change("select state, groups::int from carillon.queue_state");
      expect(states).toHaveLength(7);
      expect(states.filter(({ groups }) => groups !== 0)).toEqual([{ state, groups: 1 }]);
    });
  });

  it("that are late show who holds them and how their lease stands", async () => {
    await tryOut(async (change) => {
      await change(reopen, [played.bucketId]);
      await change(group(lease(-1)), [played.bucketId]);
      const [late] = await change(
        "select held_by, lease, lease_left_ms::int as left, late_ms::int as late from carillon.overdue_groups",
      );
      expect(late).toMatchObject({ held_by: "worker-1", lease: "run out" });
      expect(Number(late?.left)).toBeLessThan(0);
      expect(Number(late?.late)).toBeGreaterThan(0);
      const [load] = await change("select groups_abandoned::int, groups_firing::int, state from carillon.node_load");
      expect(load).toMatchObject({ groups_abandoned: 1, groups_firing: 0 });
    });
  });
});

describe("time buckets", () => {
  it("tell their progress and lateness", async () => {
    const [progress] = (await db.pool.query<Row>("select * from carillon.bucket_progress")).rows;
    expect(progress).toMatchObject({
      topic: "livestream",
      state: "done",
      groups: 2,
      groups_finished: 2,
      intended: 50,
      delivered: 50,
      failed: 0,
      in_doubts: 0,
    });
    expect(Number(progress?.lateness_ms)).toBeGreaterThan(50);
    const [lateness] = (await db.pool.query<Row>("select * from carillon.bucket_lateness")).rows;
    const ms = played.log.map(({ receivedAtMs, dueAtMs }) => receivedAtMs + 1 - dueAtMs).toSorted((a, b) => a - b);
    expect(lateness).toMatchObject({ delivered: 50, first_ms: ms[0], p50_ms: ms[24], p99_ms: ms[49], last_ms: ms[49] });
  });

  it("ahead are listed with how many they are for, also where they are not planned yet", async () => {
    await tryOut(async (change) => {
      const bucketId = played.bucketId;
      await change("delete from carillon.groups where bucket_id = $1", [bucketId]);
      await change(
        `update carillon.time_buckets set due_at = carillon.clock() + interval '1 hour', closed_at = null, closed_as = null,
           expires_at = carillon.clock() + interval '2 hours', cut_at = null, population = null where bucket_id = $1`,
        [bucketId],
      );
      await change("update carillon.schedules set next_due_at = carillon.clock() + interval '1 day'");
      const rows = await change(
        "select state, population, bucket_id, due_in_s::int as due_in_s from carillon.upcoming_buckets order by due_at",
      );
      expect(rows).toMatchObject([
        { state: "planned", population: 50, bucket_id: bucketId },
        { state: "not planned", population: 50, bucket_id: null },
      ]);
      expect(Number(rows[0]?.due_in_s)).toBeGreaterThan(3500);
      await change("update carillon.topics set paused_at = clock_timestamp()");
      expect(await change("select distinct state from carillon.upcoming_buckets")).toEqual([{ state: "paused" }]);
    });
  });

  it("of large schedules are estimated from a sample", async () => {
    await tryOut(async (change) => {
      await change(
        `insert into carillon.subscriptions (schedule_id, user_number, hash_slot)
         select 999, i, carillon.hash_slot(i::text) from generate_series(1, 30000) i`,
      );
      const [row] = await change("select carillon.estimate_population(999) as population");
      expect(Math.abs(Number(row?.population) - 30_000)).toBeLessThan(6000);
    });
  });
});

describe("deliveries", () => {
  const deliveries =
    "select state, reason, attempt, detail, http_status, lateness_ms, accepted_at, user_id, channel, chunk_number";

  async function firstChunk(change: (text: string, values?: unknown[]) => Promise<Row[]>): Promise<string[]> {
    const [chunk] = await change(
      "select user_numbers::text[] from carillon.chunks where bucket_id = $1 and group_number = 0 and chunk_number = 0",
      [played.bucketId],
    );
    return (chunk?.user_numbers ?? []) as string[];
  }

  it("are the members of chunks with their outcomes", async () => {
    const { rows } = await db.pool.query<{ user_id: string; accepted_at: Date; state: string; channel: string }>(
      "select user_id, accepted_at, state, channel from carillon.deliveries where bucket_id = $1",
      [played.bucketId],
    );
    expect(rows).toHaveLength(50);
    const acceptedAt = new Map(rows.map((row) => [row.user_id, row.accepted_at.getTime()]));
    for (const { user, receivedAtMs } of played.log) expect(acceptedAt.get(user)).toBe(receivedAtMs + 1);
    expect(new Set(rows.map(({ state, channel }) => `${state} ${channel}`))).toEqual(new Set(["delivered webhook"]));
  });

  it("put outcomes to members by their indexes, and past those refused", async () => {
    await tryOut(async (change) => {
      const members = await firstChunk(change);
      const key = "bucket_id = $1 and group_number = 0 and chunk_number = 0";
      const refused = members.map((_, at) => (at === 0 ? 32 : at === 4 ? 30 : 0));
      await change(`update carillon.chunks set refused = $2 where ${key}`, [played.bucketId, Buffer.from(refused)]);
      const sent = members.filter((_, at) => refused[at] === 0);
      const codes = sent.map((_, at) => (at === 1 ? 10 : 1));
      await change(`update carillon.outcomes set codes = $2, after_due_ms = $3 where ${key}`, [
        played.bucketId,
        Buffer.from(codes),
        sent.map((_, at) => 100 + at),
      ]);
      await change(
        `insert into carillon.failures (due_day, bucket_id, group_number, chunk_number, user_number, ordinal, code, http_status, reason)
         values ($1, $2, 0, 0, $3, 1, 10, 410, 'no such user')`,
        [played.dueDay, played.bucketId, sent[1]],
      );
      const read = async (user: string | undefined) =>
        (
          await change(`${deliveries} from carillon.deliveries where bucket_id = $1 and user_number = $2`, [
            played.bucketId,
            user,
          ])
        )[0];
      expect(await read(members[0])).toMatchObject({ state: "suppressed", reason: "muted", lateness_ms: null });
      expect(await read(members[4])).toMatchObject({ state: "suppressed", reason: "ended" });
      expect(await read(members[1])).toMatchObject({ state: "delivered", lateness_ms: 100 });
      expect(await read(members[2])).toMatchObject({
        state: "failed",
        reason: "rejected",
        http_status: 410,
        detail: "no such user",
      });
      // 5 follows the refused 4, so it is the fourth that was sent
      expect(await read(members[5])).toMatchObject({ state: "delivered", lateness_ms: 103, detail: null });

      await change(
        `update carillon.outcomes set indexes = '{7, 2}', codes = '\\x010a', after_due_ms = '{11, 12}' where ${key}`,
        [played.bucketId],
      );
      expect(await read(members[7])).toMatchObject({ state: "delivered", lateness_ms: 11 });
      expect(await read(members[2])).toMatchObject({ state: "failed" });
      expect(await read(members[1])).toMatchObject({ state: "in doubt", reason: null });
    });
  });

  it("are what their latest chunk says, and sending only while their owner lives", async () => {
    await tryOut(async (change) => {
      const [user] = await firstChunk(change);
      const chunk = async (number: number, epoch: number, attempt: number) =>
        change(
          `insert into carillon.chunks (due_day, bucket_id, group_number, chunk_number, epoch, node_id, attempt, intent_at,
             first_slot, first_user, last_slot, last_user, user_numbers, ordinals)
           select due_day, bucket_id, group_number, $2, $3, node_id, $4, clock_timestamp(), first_slot, first_user, last_slot,
             last_user, array[$5::bigint], '{1}'
           from carillon.chunks where bucket_id = $1 and group_number = 0 and chunk_number = 0`,
          [played.bucketId, number, epoch, attempt, user],
        );
      const read = async () =>
        (
          await change(`${deliveries} from carillon.deliveries where bucket_id = $1 and user_number = $2`, [
            played.bucketId,
            user,
          ])
        )[0];
      const lease = (seconds: number) =>
        change(
          `update carillon.groups set finished_at = null, epoch = 2, claim_token = gen_random_uuid(),
             lease_until = clock_timestamp() + $2::int * interval '1 second' where bucket_id = $1 and group_number = 0`,
          [played.bucketId, seconds],
        );
      await change(
        "update carillon.outcomes set codes = set_byte(codes, 0, 51) where chunk_number = 0 and group_number = 0",
      );
      expect(await read()).toMatchObject({ state: "deferred", reason: "in doubt", attempt: 0, chunk_number: 0 });
      await chunk(20, 2, 1);
      await lease(8);
      expect(await read()).toMatchObject({ state: "sending", reason: null, attempt: 1, chunk_number: 20 });
      await lease(-1);
      expect(await read()).toMatchObject({ state: "in doubt" });
      await chunk(21, 3, 2);
      await lease(8);
      // another claim wrote it than the one that holds the group
      expect(await read()).toMatchObject({ state: "in doubt", attempt: 2 });
      await change(
        `insert into carillon.outcomes (due_day, bucket_id, group_number, chunk_number, epoch, part, recorded_at, codes, after_due_ms)
         values ($1, $2, 0, 21, 3, 0, clock_timestamp(), '\\x01', '{9000}')`,
        [played.dueDay, played.bucketId],
      );
      expect(await read()).toMatchObject({ state: "delivered", lateness_ms: 9000, attempt: 2 });
      const [history] = await change(
        "select h.* from carillon.users u, carillon.delivery_history(u.user_id) h where user_number = $1",
        [user],
      );
      expect(history).toMatchObject({ state: "delivered", lateness_ms: 9000, attempt: 2, chunk_number: 21 });
    });
  });

  it("keep no outside id of who was erased", async () => {
    await tryOut(async (change) => {
      const [user] = await firstChunk(change);
      await change("delete from carillon.users where user_number = $1", [user]);
      const [row] = await change(`${deliveries} from carillon.deliveries where bucket_id = $1 and user_number = $2`, [
        played.bucketId,
        user,
      ]);
      expect(row).toMatchObject({ state: "delivered", user_id: null, channel: null });
    });
  });

  it("of one user in one bucket are found among the members, not after unpacking everything", async () => {
    const { rows } = await db.pool.query<{ "QUERY PLAN": string }>(
      "explain select state from carillon.deliveries where bucket_id = 1 and user_number = 7",
    );
    const plan = rows.map((row) => row["QUERY PLAN"]).join("\n");
    expect(plan).toMatch(/Function Scan on m.*\n\s+Filter: \(\(?user_number\)?(::bigint)? = '?7/);
    expect(plan).not.toMatch(/Seq Scan on (users|endpoints)/);
  });
});

describe("delivery_history", () => {
  it("gives a user's deliveries newest first and reads no other bucket's chunks", async () => {
    await using own = await createTestDatabase();
    const { pool } = own.database;
    const older = await playBucket(own.database, { users: 400, dueMsAgo: 3 * 86_400_000 });
    for (let days = 1; days <= 5; days += 1) {
      await playBucket(own.database, { users: 400, dueMsAgo: days * 86_400_000 + 3_600_000, topic: `other-${days}` });
    }
    const newer = await playBucket(own.database, { users: 400, dueMsAgo: 60_000 });
    const user = newer.users[200];
    if (user === undefined) throw new Error("no users");
    // the same user in an older bucket of another schedule
    const twin = older.users.find(({ hashSlot }) => hashSlot >= 32768);
    if (twin === undefined) throw new Error("no users in the second group");
    await pool.query("analyze");
    const { rows } = await pool.query("select bucket_id, state from carillon.delivery_history($1)", [twin.userId]);
    expect(rows).toEqual([{ bucket_id: older.bucketId, state: "delivered" }]);

    const hits = async (text: string): Promise<number> => {
      await pool.query(text);
      const plan = await pool.query<{ "QUERY PLAN": [{ Plan: Record<string, number> }] }>(
        `explain (analyze, buffers, format json) ${text}`,
      );
      return plan.rows[0]?.["QUERY PLAN"][0].Plan["Shared Hit Blocks"] ?? 0;
    };
    const all = await hits("select * from carillon.chunk_members");
    expect(await hits(`select * from carillon.delivery_history('${user.userId}')`)).toBeLessThan(all / 3);

    await pool.query(`insert into carillon.subscriptions (schedule_id, user_number, hash_slot) values ($1, $2, $3)`, [
      older.scheduleId,
      user.userNumber,
      user.hashSlot,
    ]);
    await pool.query(
      `insert into carillon.chunks (due_day, bucket_id, group_number, chunk_number, epoch, node_id, attempt, intent_at,
         first_slot, first_user, last_slot, last_user, user_numbers, ordinals, refused)
       values ($1, $2, $3, 99, 1, 1, 0, clock_timestamp(), $4, $5, $4, $5, array[$5::bigint], '{0}', '\\x21')`,
      [older.dueDay, older.bucketId, user.hashSlot >= 32768 ? 1 : 0, user.hashSlot, user.userNumber],
    );
    const both = await pool.query("select bucket_id, state, reason from carillon.delivery_history($1)", [user.userId]);
    expect(both.rows).toEqual([
      { bucket_id: newer.bucketId, state: "delivered", reason: "accepted" },
      { bucket_id: older.bucketId, state: "suppressed", reason: "no endpoint" },
    ]);
    expect((await pool.query("select * from carillon.delivery_history('nobody')")).rows).toEqual([]);
  });
});

describe("attention", () => {
  it("is empty when all is well", async () => {
    expect((await db.pool.query("select * from carillon.attention")).rows).toEqual([]);
  });

  const open = `update carillon.groups set finished_at = null, epoch = 1, not_before = clock_timestamp() - interval '1 minute'`;
  const claimed = `${open}, claim_token = gen_random_uuid(), lease_until = clock_timestamp()`;
  it.each([
    ["abandoned lease", `${claimed} - interval '11 seconds'`],
    ["overdue groups", open],
    [
      "parked deliveries",
      `insert into carillon.deferred (bucket_id, group_number, hash_slot, user_number, ordinal, attempt, next_try_at, parked_at, reason)
       select bucket_id, 0, 1, 1, 1, 5, clock_timestamp(), clock_timestamp(), 'worker lost' from carillon.time_buckets`,
    ],
    ["group without progress", `${claimed} + interval '8 seconds', takeovers = 5`],
    [
      "destination disabled",
      "update carillon.destinations set disabled_at = clock_timestamp(), disabled_reason = '401'",
    ],
    [
      "events not taken",
      `with listener as (
         insert into carillon.event_listeners (destination_id, kinds)
         select destination_id, '{bucket.closed}' from carillon.destinations returning destination_id)
       insert into carillon.events (destination_id, kind, about, at, fault)
       select destination_id, 'bucket.closed', '{}', clock_timestamp() - interval '61 minutes', 'answered 500' from listener`,
    ],
    ["planner stands", "update carillon.schedules set next_due_at = carillon.clock() - interval '1 minute'"],
    [
      "bucket without groups",
      `with gone as (delete from carillon.groups)
       update carillon.time_buckets set closed_at = null, closed_as = null, cut_at = null`,
    ],
    [
      "dead node holds groups",
      `with dead as (update carillon.nodes set heartbeat_at = clock_timestamp() - interval '11 seconds' returning node_id)
       ${claimed} + interval '8 seconds', node_id = (select node_id from dead)`,
    ],
    ["clock skew", "update carillon.nodes set clock_skew_ms = -501"],
    [
      "older zone data",
      `with newest as (update carillon.deployment set tzdata = '2025b')
       update carillon.nodes set tzdata = '2025a', heartbeat_at = clock_timestamp()`,
    ],
    ["schedules not planned", "update carillon.schedules set plan_fault = 'no such zone'"],
    [
      "ledger partition missing",
      `update carillon.time_buckets set closed_at = null, closed_as = null, due_at = due_at + interval '400 days',
         expires_at = expires_at + interval '400 days'`,
    ],
  ])("shows: %s", async (kind, text) => {
    await tryOut(async (change) => {
      await change(text);
      const rows = await change("select * from carillon.attention");
      const found = rows.filter((row) => row.kind === kind);
      expect(found.length, JSON.stringify(rows)).toBeGreaterThan(0);
      for (const row of found) {
        expect(row.subject).toBeTruthy();
        expect(row.why).toBeTruthy();
        expect(row.what_to_do).toBeTruthy();
      }
    });
  });

  it("leaves alone what the engine heals by itself within seconds", async () => {
    await tryOut(async (change) => {
      await change("update carillon.nodes set heartbeat_at = clock_timestamp()");
      await change(`${claimed} - interval '2 seconds', takeovers = 1`);
      await change("update carillon.schedules set next_due_at = carillon.clock() - interval '1 second'");
      expect(await change("select * from carillon.attention")).toEqual([]);
    });
  });
});

describe("docs/inspection.md", () => {
  it("has ten questions, and each is answered", async () => {
    const questions = await readQuestions();
    expect(questions.map(({ name }) => name)).toEqual([
      "next",
      "hour",
      "late",
      "owner",
      "received",
      "failed",
      "doubt",
      "load",
      "attention",
      "lateness",
    ]);
    for (const { name, parameters } of questions) {
      const values = parameters.map((parameter) =>
        parameter === "bucket_id" ? played.bucketId : (played.users[0]?.userId ?? ""),
      );
      const table = written();
      await askQuestion(db, questions, { name, values }, table, { json: false });
      const json = written();
      await askQuestion(db, questions, { name, values }, json, { json: true });
      const answer: unknown[] = JSON.parse(json.text());
      expect(table.text(), name).toMatch(answer.length === 0 ? /^\(no rows\)/ : /^┌/);
      if (["received", "load", "lateness"].includes(name)) expect(answer, name).toHaveLength(1);
    }
  });

  it("gives numbers as numbers and instants in UTC", async () => {
    const out = written();
    await askQuestion(db, await readQuestions(), { name: "lateness", values: [] }, out, { json: true });
    expect(JSON.parse(out.text())).toMatchObject([
      { bucket_id: Number(played.bucketId), due_at: new Date(played.dueAtMs).toISOString(), delivered: 50 },
    ]);
  });

  it("is what the program lists", async () => {
    const out = written();
    listQuestions(await readQuestions(), out, { json: false });
    expect(out.text()).toMatch(/received USER_ID .*Did this user get it, and when\?/);
  });

  it("refuses a question that there isn't, and arguments that don't fit", async () => {
    const questions = await readQuestions();
    const to = (name: string, ...values: string[]) =>
      askQuestion(db, questions, { name, values }, written(), { json: false });
    await expect(to("what")).rejects.toMatchObject({
      code: "invalid_request",
      message: expect.stringMatching(/next, hour/),
    });
    await expect(to("received")).rejects.toThrow("carillon sql received USER_ID");
    await expect(to("next", "1")).rejects.toMatchObject({ code: "invalid_request" });
    await expect(to("failed", "1 or true")).rejects.toMatchObject({ code: "invalid_request" });
  });

  it("takes a value as a value, whatever is in it", async () => {
    const out = written();
    const request = { name: "received", values: ["'; drop table carillon.users; --"] };
    await askQuestion(db, await readQuestions(), request, out, { json: true });
    expect(JSON.parse(out.text())).toEqual([]);
  });

  it("fails to parse where a question lacks its sql or comes twice", () => {
    expect(() => parseQuestions("## one: What?\n\ntext\n")).toThrow("no sql");
    const block = "## one: What?\n\n```sql\nselect 1\n```\n";
    expect(parseQuestions(`# Title\n\n## Not a question\n\n${block}`)).toHaveLength(1);
    expect(() => parseQuestions(block + block)).toThrow("twice");
  });
});

describe("reading", () => {
  it("can't write, and ends after its time", async () => {
    await expect(ask(db, "delete from carillon.users")).rejects.toMatchObject({ code: "25006" });
    await expect(ask(db, "select pg_sleep(30)", [], { timeoutMs: 50 })).rejects.toMatchObject({ code: "57014" });
    expect(await ask(db, "select 1::bigint as one")).toEqual({ columns: ["one"], rows: [[1]] });
  });
});

describe("status", () => {
  it("says when nothing needs a hand", async () => {
    const out = written();
    expect(await showStatus(db, out, { json: false })).toBe(true);
    expect(out.text()).toContain("Nothing needs a hand.");
    expect(out.text()).toContain("Nothing is under way.");
  });

  it("shows what is late, why, and what to do, and its JSON the same", async () => {
    await using own = await createTestDatabase();
    const { bucketId } = await playBucket(own.database);
    const { pool } = own.database;
    await pool.query("update carillon.time_buckets set closed_at = null, closed_as = null");
    await pool.query(
      `update carillon.groups set finished_at = null, claim_token = gen_random_uuid(), takeovers = 6,
         lease_until = clock_timestamp() - interval '40 seconds', last_fault = E'read failed\\x1b[31m' where group_number = 1`,
    );
    await pool.query("update carillon.nodes set heartbeat_at = clock_timestamp() - interval '45 seconds'");
    const out = written();
    expect(await showStatus(own.database, out, { json: false })).toBe(false);
    const screen = out.text();
    expect(screen).toMatch(
      /NEEDS A HAND\n! .*abandoned lease: bucket \d+, groups: 1, of node worker-1 .*, for 4\d s\n {4}why: .*\n {4}to do: /s,
    );
    expect(screen).toContain("LATE");
    expect(screen).toContain("read failed");
    expect(screen).not.toContain("\u001b");
    expect(screen).toMatch(/UNDER WAY[\s\S]*1\/2/);
    expect(screen).toContain("NO WORKER IS LIVE");
    expect(screen.split("\n").length).toBeLessThan(50);
    const json = written();
    await showStatus(own.database, json, { json: true });
    expect(JSON.parse(json.text())).toMatchObject({
      late: [{ bucketId, state: "abandoned", groups: 1, heldBy: "worker-1" }],
      underWay: [{ bucketId, groups: 2, groupsFinished: 1 }],
      nodes: [{ state: "silent" }],
    });
  });

  it.each([
    [850, "850 ms"],
    [12_400, "12 s"],
    [185_000, "3 min 5 s"],
    [7_200_000, "2 h"],
    [273_600_000, "3 d 4 h"],
    [-5, "0 ms"],
  ])("reads %i ms as %s", (ms, text) => expect(durationOf(ms)).toBe(text));
});
