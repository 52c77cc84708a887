import type { Database } from "./database.ts";
import { readOnly } from "./inspection.ts";

/*
 * What must hold whatever happened to workers, network and Postgres, asked of the tables themselves and never of the
 * workers' counters. These scans read whole buckets: for tests, demos and audits, not for a dashboard.
 */

type Reader = Pick<Database, "pool">;

/** null: all buckets */
export type BucketIds = readonly string[] | null;

const scanTimeoutMs = 120_000;

/** A subscription or its end that bears a time this close before the moment may have been committed after it. */
const judgeable = "interval '1 second' * carillon.clock_speed()";

export interface DeliveryKey {
  readonly bucketId: string;
  readonly userNumber: string;
  readonly ordinal: number;
}

export interface LedgerImbalance {
  /** deliveries owed that have no final state */
  readonly missing: number;
  /** deliveries with a final state that nobody owed */
  readonly notOwed: number;
  /** deliveries with more than one final state, or taken up again after their final state */
  readonly heldTwice: number;
  readonly total: number;
  /** some of them */
  readonly examples: readonly (DeliveryKey & { readonly fault: "missing" | "not owed" | "held twice" })[];
}

/**
 * Compares the ledger of closed buckets (round 0) with a scan of subscriptions and endpoints.
 *
 * Owed: a delivery for each endpoint of each subscription that stood at the moment; without an endpoint, one with none.
 * What can't be judged from today's rows is neither demanded nor refused: who subscribed or left within the second
 * before the moment (the commit may have come after it), who left and came back since, endpoints registered or gone
 * since, users erased since. Skipped buckets, and those cancelled before their first intent, owe nothing.
 */
export async function ledgerImbalance(db: Reader, bucketIds: BucketIds = null): Promise<LedgerImbalance> {
  const rows = await scan<{
    missing: number;
    not_owed: number;
    held_twice: number;
    examples: LedgerImbalance["examples"] | null;
  }>(db, imbalanceText, [bucketIds]);
  const [row] = rows;
  if (row === undefined) throw new Error("an aggregate returned no row");
  const { missing, not_owed: notOwed, held_twice: heldTwice, examples } = row;
  return { missing, notOwed, heldTwice, total: missing + notOwed + heldTwice, examples: examples ?? [] };
}

const imbalanceText = `
  with bucket as materialized (
    select b.bucket_id, b.due_day, b.schedule_id, b.due_at
    from carillon.time_buckets b
    where b.closed_at is not null and b.round = 0 and ($1::bigint[] is null or b.bucket_id = any ($1))
      and (b.closed_as = 'done' or exists (
        select from carillon.chunks c where c.bucket_id = b.bucket_id and c.due_day = b.due_day))
  ), held as materialized (
    select m.bucket_id, m.user_number, m.ordinal,
      count(*) filter (where o.final) as finals,
      max(m.chunk_number) as last_chunk,
      max(m.chunk_number) filter (where o.final) as last_final
    from bucket b
    join carillon.chunk_members m on m.bucket_id = b.bucket_id and m.due_day = b.due_day
    left join carillon.outcome_codes o on o.code = m.code
    group by m.bucket_id, m.user_number, m.ordinal
  ), member as materialized (
    select b.bucket_id, b.due_at, s.hash_slot, s.user_number,
      s.subscribed_at <= b.due_at - ${judgeable} and (s.ended_at is null or s.ended_at > b.due_at) as certain
    from bucket b
    join carillon.subscriptions s on s.schedule_id = b.schedule_id
    where s.subscribed_at <= b.due_at and (s.ended_at is null or s.ended_at > b.due_at - ${judgeable})
  ), reach as materialized (
    select m.bucket_id, m.user_number, m.certain, e.ordinal,
      e.gone_at is null and e.registered_at <= carillon.real_time(m.due_at - ${judgeable}) as standing
    from member m
    left join carillon.endpoints e
      on e.hash_slot = m.hash_slot and e.user_number = m.user_number
      and (e.gone_at is null or e.gone_at > carillon.real_time(m.due_at - ${judgeable}))
  ), expected as materialized (
    select bucket_id, user_number, ordinal, certain and standing as owed
    from reach
    where ordinal is not null
    union all
    select bucket_id, user_number, 0::smallint, bool_and(certain and ordinal is null)
    from reach
    group by bucket_id, user_number
    having not bool_or(ordinal is not null and standing)
  ), compared as (
    select bucket_id, user_number, ordinal,
      case
        when e.owed and coalesce(h.finals, 0) = 0 then 'missing'
        when h.finals > 0 and e.owed is null then 'not owed'
        when h.finals > 1 or h.last_final < h.last_chunk then 'held twice'
      end as fault
    from expected e
    full join held h using (bucket_id, user_number, ordinal)
  ), unreached as (
    -- all that this user's endpoints are is doubtful, yet one delivery there must have been, with one of them or none
    select m.bucket_id, m.user_number, 0::smallint as ordinal, 'missing' as fault
    from member m
    where m.certain
      and not exists (select from held h where h.bucket_id = m.bucket_id and h.user_number = m.user_number and h.finals > 0)
      and not exists (
        select from expected e where e.bucket_id = m.bucket_id and e.user_number = m.user_number and e.owed)
  ), fault as materialized (
    select f.*
    from (select * from compared where fault is not null union all select * from unreached) f
    join bucket b on b.bucket_id = f.bucket_id
    where f.fault = 'held twice'
      -- erased since, or left and came back since: can't be judged
      or exists (
        select from carillon.users u
        left join carillon.subscriptions s
          on s.schedule_id = b.schedule_id and s.hash_slot = u.hash_slot and s.user_number = u.user_number
        where u.user_number = f.user_number and (s.subscribed_at <= b.due_at or s.subscribed_at is null))
  )
  select
    (count(*) filter (where fault = 'missing'))::int as missing,
    (count(*) filter (where fault = 'not owed'))::int as not_owed,
    (count(*) filter (where fault = 'held twice'))::int as held_twice,
    (
      select json_agg(json_build_object(
        'bucketId', bucket_id::text, 'userNumber', user_number::text, 'ordinal', ordinal, 'fault', fault))
      from (select * from fault order by bucket_id, user_number, ordinal limit 10) few
    ) as examples
  from fault`;

export interface OverlappingChunk {
  readonly bucketId: string;
  readonly groupNumber: number;
  readonly chunkNumber: number;
  readonly fault: "overlaps an earlier one" | "outside its group";
}

/**
 * First-attempt chunks of a bucket whose ranges of positions overlap, or leave the range of their group. (Deferred
 * deliveries come again in chunks of their own, which lie over those.)
 */
export function overlappingChunks(db: Reader, bucketIds: BucketIds = null): Promise<OverlappingChunk[]> {
  return scan<OverlappingChunk>(
    db,
    `with placed as (
       select c.bucket_id, c.group_number, c.chunk_number,
         c.first_slot < g.first_slot or c.last_slot > g.last_slot as outside,
         array[c.first_slot, c.first_user] <= max(array[c.last_slot, c.last_user]) over (
           partition by c.bucket_id
           order by c.first_slot, c.first_user, c.group_number, c.chunk_number
           rows between unbounded preceding and 1 preceding) as is_over
       from carillon.chunks c
       join carillon.groups g on g.bucket_id = c.bucket_id and g.group_number = c.group_number
       where c.attempt = 0 and ($1::bigint[] is null or c.bucket_id = any ($1))
     )
     select bucket_id as "bucketId", group_number as "groupNumber", chunk_number as "chunkNumber",
       case when is_over then 'overlaps an earlier one' else 'outside its group' end as fault
     from placed
     where is_over or outside
     order by bucket_id, group_number, chunk_number`,
    [bucketIds],
  );
}

export interface StuckGroup {
  readonly bucketId: string;
  /** null: the bucket was never cut into groups */
  readonly groupNumber: number | null;
  readonly state: string;
  readonly sinceMs: number;
}

/**
 * Work that is due and that nobody has: groups without a live lease past `not_before`, and buckets without groups.
 *
 * @param graceMs how long that may last: what a rescue takes at most
 */
export function stuckGroups(
  db: Reader,
  { graceMs = 15_000, bucketIds = null }: { readonly graceMs?: number; readonly bucketIds?: BucketIds } = {},
): Promise<StuckGroup[]> {
  return scan<StuckGroup>(
    db,
    `with idle as (
       select bucket_id, group_number, state,
         extract(epoch from case
           when state = 'abandoned' then clock_timestamp() - lease_until
           else clock_timestamp() - greatest(carillon.real_time(due_at), not_before)
         end) * 1000 as since_ms
       from carillon.open_groups
       where state in ('overdue', 'abandoned')
       union all
       select bucket_id, null, 'not cut', extract(epoch from clock_timestamp() - carillon.real_time(due_at)) * 1000
       from carillon.time_buckets
       where closed_at is null and cancelled_at is null and cut_at is null and due_at <= carillon.clock()
     )
     select bucket_id as "bucketId", group_number as "groupNumber", state, since_ms::float8 as "sinceMs"
     from idle
     where since_ms > $2::float8 and ($1::bigint[] is null or bucket_id = any ($1))
     order by bucket_id, group_number`,
    [bucketIds, graceMs],
  );
}

/** Sends of which nobody knows whether they arrived, as the ledger has them: each time counts. */
export async function inDoubtCount(db: Reader, bucketIds: BucketIds = null): Promise<number> {
  // from outcomes alone: what an intent refuses as in doubt became doubtful, and was counted, in an earlier chunk
  const [row] = await scan<{ in_doubts: number }>(
    db,
    `select count(*)::int as in_doubts
     from carillon.outcomes o
     cross join lateral generate_series(0, length(o.codes) - 1) as place
     join carillon.outcome_codes c on c.code = get_byte(o.codes, place) and c.in_doubt
     where $1::bigint[] is null or o.bucket_id = any ($1)`,
    [bucketIds],
  );
  return row?.in_doubts ?? 0;
}

export interface OpenIntents {
  readonly nodeId: number;
  readonly deliveries: number;
}

/** Deliveries with an intent and no outcome yet, by the node that wrote the intent. */
export function openIntents(db: Reader, bucketIds: BucketIds = null): Promise<OpenIntents[]> {
  return scan<OpenIntents>(
    db,
    `select m.node_id as "nodeId", count(*)::int as deliveries
     from carillon.groups g
     join carillon.time_buckets b on b.bucket_id = g.bucket_id
     join carillon.chunk_members m
       on m.bucket_id = b.bucket_id and m.due_day = b.due_day and m.group_number = g.group_number
     where g.finished_at is null and m.code is null and ($1::bigint[] is null or g.bucket_id = any ($1))
     group by m.node_id
     order by m.node_id`,
    [bucketIds],
  );
}

export interface UnresolvedBucket {
  readonly bucketId: string;
  readonly openGroups: number;
  readonly deferred: number;
  /** deliveries with an intent and no final state */
  readonly deliveries: number;
}

/**
 * Buckets that expired longer ago than the recovery bound and yet have something without a final state.
 *
 * @param boundMs how long after its expiry a bucket may take to be closed
 */
export function unresolvedBeyondExpiry(
  db: Reader,
  { boundMs = 15_000, bucketIds = null }: { readonly boundMs?: number; readonly bucketIds?: BucketIds } = {},
): Promise<UnresolvedBucket[]> {
  return scan<UnresolvedBucket>(
    db,
    `with past as materialized (
       select b.bucket_id, b.due_day, b.closed_at,
         (select count(*) from carillon.groups g where g.bucket_id = b.bucket_id and g.finished_at is null)::int
           as open_groups,
         (select count(*) from carillon.deferred d where d.bucket_id = b.bucket_id)::int as deferred
       from carillon.time_buckets b
       where carillon.real_time(b.expires_at) < clock_timestamp() - $2::float8 * interval '1 millisecond'
         and ($1::bigint[] is null or b.bucket_id = any ($1))
     ), latest as (
       select distinct on (m.bucket_id, m.user_number, m.ordinal) m.bucket_id, o.final
       from past p
       join carillon.chunk_members m on m.bucket_id = p.bucket_id and m.due_day = p.due_day
       left join carillon.outcome_codes o on o.code = m.code
       order by m.bucket_id, m.user_number, m.ordinal, m.chunk_number desc, o.final desc nulls last
     ), unresolved as (
       select bucket_id, count(*)::int as deliveries from latest where final is not true group by bucket_id
     )
     select p.bucket_id as "bucketId", p.open_groups as "openGroups", p.deferred, coalesce(u.deliveries, 0) as deliveries
     from past p
     left join unresolved u on u.bucket_id = p.bucket_id
     where p.closed_at is null or p.open_groups > 0 or p.deferred > 0 or u.deliveries > 0
     order by p.bucket_id`,
    [bucketIds, boundMs],
  );
}

function scan<T extends object>(db: Reader, text: string, values: readonly unknown[]): Promise<T[]> {
  return readOnly(
    db,
    async (executor) => {
      const statement = { text, values: [...values], query_timeout: scanTimeoutMs + 1000 };
      const { rows } = await executor.query<T>(statement);
      return rows;
    },
    { timeoutMs: scanTimeoutMs },
  );
}
