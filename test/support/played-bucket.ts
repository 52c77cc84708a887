import type { Database } from "../../src/store/database.ts";
import type { Receipt } from "./invariants.ts";

export interface PlayedUser {
  readonly userId: string;
  readonly userNumber: string;
  readonly hashSlot: number;
}

/** A time bucket that was sent as it should be, with its ledger and the log of its receiver. */
export interface PlayedBucket {
  readonly bucketId: string;
  readonly scheduleId: string;
  readonly nodeId: number;
  readonly dueDay: string;
  readonly dueAtMs: number;
  /** in firing order */
  readonly users: readonly PlayedUser[];
  readonly log: readonly Receipt[];
}

/**
 * Writes by plain SQL what the engine leaves behind when all goes well: two groups, chunks of ten members, one endpoint a user,
 * everything accepted. Apart from the engine's own code on purpose: who judges it must not be made by it.
 *
 * @param dueMsAgo how long ago the moment was, in milliseconds
 * @param chunkSize members a chunk; default 10
 */
export async function playBucket(
  db: Database,
  {
    users: count = 50,
    dueMsAgo = 60_000,
    topic = "livestream",
    chunkSize = 10,
  }: { users?: number; dueMsAgo?: number; topic?: string; chunkSize?: number } = {},
): Promise<PlayedBucket> {
  const one = async <T extends object>(text: string, values: readonly unknown[] = []): Promise<T> => {
    const { rows } = await db.pool.query<T>(text, [...values]);
    const [row] = rows;
    if (row === undefined) throw new Error(`no row from ${text}`);
    return row;
  };
  const { due_at: dueAt, due_day: dueDay } = await one<{ due_at: Date; due_day: string }>(
    `select d.due_at, (d.due_at at time zone 'UTC')::date::text as due_day
     from (select date_trunc('second', carillon.clock() - $1::float8 * interval '1 millisecond') as due_at) d`,
    [dueMsAgo],
  );
  await db.pool.query("select carillon.make_ledger_day($1)", [dueDay]);
  const { topic_id: topicId } = await one<{ topic_id: number }>(
    `insert into carillon.topics (name) values ($1) on conflict (name) do update set name = excluded.name returning topic_id`,
    [topic],
  );
  const { destination_id: destinationId } = await one<{ destination_id: number }>(
    `insert into carillon.destinations (name, url, sealed_secrets)
     values ('app', 'https://app.example/reminders', array['\\x00'::bytea])
     on conflict (name) do update set name = excluded.name returning destination_id`,
  );
  const { schedule_id: scheduleId } = await one<{ schedule_id: string }>(
    `insert into carillon.schedules (topic_id, rule)
     values ($1, carillon.canonical_rule(jsonb_build_object('kind', 'instant', 'at', $2::text))) returning schedule_id`,
    [topicId, dueAt.toISOString()],
  );
  const { node_id: nodeId } = await one<{ node_id: number }>(
    "insert into carillon.nodes (name, role, pid, version, slots) values ('worker-1', 'worker', 1, '0', 8) returning node_id",
  );
  await db.pool.query(
    `with made as (
       insert into carillon.users (user_id)
       select 'user-' || $1::text || '-' || i from generate_series(1, $2::int) i returning user_number, hash_slot, user_id
     ), reachable as (
       insert into carillon.endpoints (hash_slot, user_number, ordinal, channel, destination_id, address, registered_at)
       select hash_slot, user_number, 1, 'webhook', $3, user_id, $4::timestamptz - interval '1 hour' from made
     )
     insert into carillon.subscriptions (schedule_id, user_number, hash_slot, subscribed_at)
     select $1::bigint, user_number, hash_slot, $4::timestamptz - interval '1 hour' from made`,
    [scheduleId, count, destinationId, dueAt],
  );
  const { bucket_id: bucketId } = await one<{ bucket_id: string }>(
    `insert into carillon.time_buckets (schedule_id, topic_id, occurrence, due_at, expires_at, population, cut_at, closed_at,
       closed_as)
     values ($1, $2, 'once', $3, $3::timestamptz + interval '30 seconds', $4, $3::timestamptz - interval '10 seconds',
       $3::timestamptz + interval '5 seconds', 'done') returning bucket_id`,
    [scheduleId, topicId, dueAt, count],
  );
  await db.pool.query(
    `insert into carillon.groups (bucket_id, group_number, first_slot, last_slot, started_at, finished_at, epoch, node_id,
       not_before, mark_slot, paged_at)
     select $1, n, n * 32768, n * 32768 + 32767, $2::timestamptz, $2::timestamptz + interval '4 seconds', 1, $3,
       $2::timestamptz - interval '10 seconds', n * 32768, $2::timestamptz + interval '3 seconds'
     from generate_series(0, 1) n`,
    [bucketId, dueAt, nodeId],
  );
  await db.pool.query(
    `with member as (
       select s.hash_slot, s.user_number, g.group_number,
         (row_number() over (partition by g.group_number order by s.hash_slot, s.user_number) - 1) / $6::int as chunk
       from carillon.subscriptions s
       join carillon.groups g on g.bucket_id = $1 and s.hash_slot between g.first_slot and g.last_slot
       where s.schedule_id = $2
     ), chunk as (
       insert into carillon.chunks (due_day, bucket_id, group_number, chunk_number, epoch, node_id, attempt, intent_at,
         first_slot, first_user, last_slot, last_user, user_numbers, ordinals)
       select $3::date, $1, group_number, chunk, 1, $4, 0, $5::timestamptz + (chunk + 1) * interval '10 milliseconds',
         (array_agg(hash_slot order by hash_slot, user_number))[1],
         (array_agg(user_number order by hash_slot, user_number))[1],
         (array_agg(hash_slot order by hash_slot desc, user_number desc))[1],
         (array_agg(user_number order by hash_slot desc, user_number desc))[1],
         array_agg(user_number order by hash_slot, user_number), array_agg(1::smallint)
       from member group by group_number, chunk
       returning *
     )
     insert into carillon.outcomes (due_day, bucket_id, group_number, chunk_number, epoch, part, recorded_at, codes,
       after_due_ms)
     select due_day, bucket_id, group_number, chunk_number, 1, 0, intent_at + interval '50 milliseconds',
       decode(repeat('01', cardinality(user_numbers)), 'hex'),
       array(select 20 + 10 * chunk_number + i from generate_series(1, cardinality(user_numbers)) i)
     from chunk`,
    [bucketId, scheduleId, dueDay, nodeId, dueAt, chunkSize],
  );
  await db.pool.query(
    `update carillon.groups g set next_chunk = c.chunks, intended = c.members, delivered = c.members
     from (
       select group_number, count(*) as chunks, sum(cardinality(user_numbers)) as members
       from carillon.chunks where bucket_id = $1 group by group_number) c
     where g.bucket_id = $1 and g.group_number = c.group_number`,
    [bucketId],
  );
  const { rows } = await db.pool.query<{
    userId: string;
    userNumber: string;
    hashSlot: number;
    group: number;
    ms: number;
  }>(
    `select u.user_id as "userId", u.user_number as "userNumber", u.hash_slot as "hashSlot", m.group_number as group,
       m.after_due_ms as ms
     from carillon.chunk_members m join carillon.users u using (user_number)
     where m.bucket_id = $1 order by u.hash_slot, u.user_number`,
    [bucketId],
  );
  const dueAtMs = dueAt.getTime();
  return {
    bucketId,
    scheduleId,
    nodeId,
    dueDay,
    dueAtMs,
    users: rows.map(({ userId, userNumber, hashSlot }) => ({ userId, userNumber, hashSlot })),
    log: rows.map(({ userId, userNumber, group, ms }) => ({
      id: `${scheduleId}-${userNumber}-1`,
      user: userId,
      bucket: bucketId,
      group,
      node: "worker-1",
      attempt: 0,
      receivedAtMs: dueAtMs + ms - 1,
      dueAtMs,
    })),
  };
}
