import type { Database } from "../../src/store/database.ts";
import { readOnly } from "../../src/store/inspection.ts";
import type { BucketIds } from "../../src/store/invariants.ts";
import type { ViolationName } from "./invariants.ts";

export interface DeliveryInLedger {
  readonly ordinal: number;
  /** of its latest chunk; null: nothing is recorded */
  readonly code: number | null;
  /** intents to send it */
  readonly sends: number;
  readonly inDoubts: number;
}

export interface UserInLedger {
  readonly user: string;
  readonly bucket: string;
  readonly dueAtMs: number;
  readonly expiresAtMs: number;
  readonly deliveries: readonly DeliveryInLedger[];
}

type Reader = Pick<Database, "pool">;

/** The ledger by "bucket/user". */
export async function readLedger(db: Reader, bucketIds: BucketIds): Promise<ReadonlyMap<string, UserInLedger>> {
  const { rows } = await db.pool.query<UserInLedger & DeliveryInLedger>(
    `select b.bucket_id::text as bucket, coalesce(u.user_id, 'number ' || m.user_number) as user, m.ordinal,
       (extract(epoch from b.due_at) * 1000)::float8 as "dueAtMs",
       (extract(epoch from b.expires_at) * 1000)::float8 as "expiresAtMs",
       (array_agg(m.code order by m.chunk_number desc, m.outcome_epoch desc nulls last, m.outcome_part desc))[1] as code,
       (count(distinct (m.group_number, m.chunk_number)) filter (where not m.refused))::int as sends,
       (count(*) filter (where o.in_doubt and not m.refused))::int as "inDoubts"
     from carillon.time_buckets b
     join carillon.chunk_members m on m.bucket_id = b.bucket_id and m.due_day = b.due_day
     left join carillon.users u on u.user_number = m.user_number
     left join carillon.outcome_codes o on o.code = m.code
     where $1::bigint[] is null or b.bucket_id = any ($1)
     group by b.bucket_id, m.user_number, u.user_id, m.ordinal`,
    [bucketIds],
  );
  const ledger = new Map<string, UserInLedger & { readonly deliveries: DeliveryInLedger[] }>();
  for (const { user, bucket, dueAtMs, expiresAtMs, ordinal, code, sends, inDoubts } of rows) {
    const key = `${bucket}/${user}`;
    const known = ledger.get(key) ?? { user, bucket, dueAtMs, expiresAtMs, deliveries: [] };
    known.deliveries.push({ ordinal, code, sends, inDoubts });
    ledger.set(key, known);
  }
  return ledger;
}

export interface LedgerFault {
  readonly name: ViolationName;
  readonly examples: readonly unknown[];
}

/** What each must not find. Times closer than a second say nothing: a commit may have come after the time it bears. */
const faultTexts: readonly { readonly name: ViolationName; readonly text: string }[] = [
  {
    name: "early",
    text: `
      select c.bucket_id, c.group_number, c.chunk_number, c.intent_at, b.due_at
      from carillon.chunks c join carillon.time_buckets b using (bucket_id)
      where c.intent_at < b.due_at and b.cancelled_at is null`,
  },
  {
    name: "after expiry",
    text: `
      select m.bucket_id, m.group_number, m.chunk_number, m.intent_at, min(m.user_number) as user_number
      from carillon.time_buckets b
      join carillon.chunk_members m on m.bucket_id = b.bucket_id and m.due_day = b.due_day
      where m.intent_at > b.expires_at and not m.refused
      group by m.bucket_id, m.group_number, m.chunk_number, m.intent_at`,
  },
  {
    name: "groups don't cover all slots",
    text: `
      select g.bucket_id, min(g.first_slot) as first_slot, max(g.last_slot) as last_slot,
        sum(g.last_slot - g.first_slot + 1) as slots
      from carillon.groups g
      group by g.bucket_id
      having min(g.first_slot) <> 0 or max(g.last_slot) <> 65535 or sum(g.last_slot - g.first_slot + 1) <> 65536`,
  },
  {
    name: "stale write",
    text: `
      with written as (
        select bucket_id, group_number, epoch, carillon.real_time(intent_at) as at from carillon.chunks
        union all
        select bucket_id, group_number, epoch, recorded_at from carillon.outcomes
      ), span as (
        select bucket_id, group_number, epoch, min(at) as first_at, max(at) as last_at
        from written group by bucket_id, group_number, epoch
      ), ordered as (
        select s.*, lead(s.first_at) over (partition by s.bucket_id, s.group_number order by s.epoch) as next_at
        from span s
      )
      select o.bucket_id, o.group_number, o.epoch, o.last_at, o.next_at, g.epoch as group_epoch
      from ordered o join carillon.groups g using (bucket_id, group_number)
      where o.last_at > o.next_at or o.epoch > g.epoch`,
  },
  {
    name: "sent after leaving",
    text: `
      select m.bucket_id, m.group_number, m.chunk_number, m.user_number, s.ended_at, m.intent_at
      from carillon.time_buckets b
      join carillon.chunk_members m on m.bucket_id = b.bucket_id and m.due_day = b.due_day
      join carillon.users u on u.user_number = m.user_number
      join carillon.subscriptions s
        on s.schedule_id = b.schedule_id and s.hash_slot = u.hash_slot and s.user_number = u.user_number
      where not m.refused and s.moved_to is null and s.ended_at < m.intent_at - interval '1 second' * carillon.clock_speed()`,
  },
  {
    name: "sent after cancelling",
    text: `
      select m.bucket_id, m.group_number, m.chunk_number, count(*) as deliveries
      from carillon.time_buckets b
      join carillon.chunk_members m on m.bucket_id = b.bucket_id and m.due_day = b.due_day
      where not m.refused and b.cancelled_at < carillon.real_time(m.intent_at) - interval '1 second'
      group by m.bucket_id, m.group_number, m.chunk_number`,
  },
  {
    // where the topic is content with one: neither after it was accepted nor after an in-doubt is another one tried
    name: "more endpoints than one",
    text: `
      select m.bucket_id, m.user_number, array_agg(distinct m.ordinal) as ordinals
      from carillon.time_buckets b
      join carillon.topics t on t.topic_id = b.topic_id and t.reach = 'first'
      join carillon.chunk_members m on m.bucket_id = b.bucket_id and m.due_day = b.due_day
      join carillon.outcome_codes o on o.code = m.code and (o.state = 'delivered' or o.in_doubt)
      where not m.refused
      group by m.bucket_id, m.user_number
      having count(distinct m.ordinal) > 1`,
  },
  {
    name: "not needed by anybody",
    text: `
      select n.bucket_id, n.user_number, n.ordinal
      from carillon.time_buckets b
      join carillon.chunk_members n on n.bucket_id = b.bucket_id and n.due_day = b.due_day and n.code = 35
      where not exists (
        select from carillon.chunk_members m
        join carillon.outcome_codes o on o.code = m.code and (o.state = 'delivered' or o.in_doubt)
        where m.bucket_id = n.bucket_id and m.due_day = n.due_day and m.user_number = n.user_number
          and m.ordinal <> n.ordinal)`,
  },
  {
    name: "counters differ from the ledger",
    text: `
      with latest as (
        select distinct on (m.bucket_id, m.group_number, m.user_number, m.ordinal)
          m.bucket_id, m.group_number, o.state
        from carillon.time_buckets b
        join carillon.chunk_members m on m.bucket_id = b.bucket_id and m.due_day = b.due_day
        left join carillon.outcome_codes o on o.code = m.code
        order by m.bucket_id, m.group_number, m.user_number, m.ordinal, m.chunk_number desc,
          m.outcome_epoch desc nulls last, m.outcome_part desc
      ), counted as (
        select bucket_id, group_number,
          count(*) filter (where state = 'delivered') as delivered,
          count(*) filter (where state = 'failed') as failed,
          count(*) filter (where state = 'suppressed') as suppressed,
          count(*) filter (where state = 'expired') as expired,
          count(*) filter (where state = 'cancelled') as cancelled
        from latest group by bucket_id, group_number
      )
      select g.bucket_id, g.group_number, row_to_json(c) as ledger,
        json_build_object('delivered', g.delivered, 'failed', g.failed, 'suppressed', g.suppressed,
          'expired', g.expired, 'cancelled', g.cancelled) as counters
      from carillon.groups g
      join counted c using (bucket_id, group_number)
      where g.finished_at is not null
        and (g.delivered, g.failed, g.suppressed, g.expired, g.cancelled)
          is distinct from (c.delivered, c.failed, c.suppressed, c.expired, c.cancelled)`,
  },
];

const scanTimeoutMs = 60_000;

export async function readLedgerFaults(db: Reader, bucketIds: BucketIds): Promise<readonly LedgerFault[]> {
  // a scan of everything takes its time where 200,000 were reminded
  return readOnly(
    db,
    async (executor) => {
      const faults: LedgerFault[] = [];
      for (const { name, text } of faultTexts) {
        const scan = {
          text: `select * from (${text}) f where $1::bigint[] is null or f.bucket_id = any ($1)`,
          values: [bucketIds],
          query_timeout: scanTimeoutMs + 1000,
        };
        const { rows } = await executor.query(scan);
        faults.push({ name, examples: rows });
      }
      return faults;
    },
    { timeoutMs: scanTimeoutMs },
  );
}
