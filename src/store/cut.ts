import type pg from "pg";
import { type CutPolicy, type CutWish, groupCount, groupRanges, releasedAfterMs } from "../reminder/group.ts";
import { bundleGroups, bundleMembers, smallBucket } from "./claim.ts";
import type { Database } from "./database.ts";
import { type Executor, inTransaction } from "./executor.ts";
import { addGroupJobs, anyShare, type GroupJobPayload } from "./jobs.ts";

export interface CutOptions extends Omit<CutPolicy, "liveNodes"> {
  /** a node counts as alive when it has been heard of within this */
  readonly aliveMs: number;
  /** buckets a transaction */
  readonly batch: number;
}

/**
 * "Which groups does this time have": cuts the buckets that are due up to the end of a second into groups, with one job
 * each, in a constant number of statements however many buckets there are. Counts and ranges are frozen now.
 *
 * Interleavings: two cutters share the buckets out (SKIP LOCKED on the bucket's row, and cut_at is set in the same
 * transaction). Pause and cancel lock the bucket first too: they come before, and are read here, or after, and find the
 * groups. Whoever subscribes after the cut is in the range of one of the groups all the same.
 *
 * @param untilMs epoch milliseconds: buckets due before this are cut
 */
export async function cutBuckets(
  db: Database,
  untilMs: number,
  options: CutOptions,
): Promise<{ buckets: number; groups: number }> {
  return inTransaction(db, async (client) => {
    const liveNodes = await countLiveWorkers(client, options.aliveMs);
    const buckets = await takeBuckets(client, untilMs, options.batch);
    if (buckets.length === 0) return { buckets: 0, groups: 0 };
    const groups = buckets.flatMap((bucket) => {
      const count = groupCount(bucket.population, bucket, { ...options, liveNodes });
      return groupRanges(count).map((range, groupNumber) => ({
        ...range,
        groupNumber,
        bucket,
        alone: count === 1,
        afterMs: releasedAfterMs(groupNumber, count, bucket),
      }));
    });
    // whether they are paused is read here, in a snapshot taken under the buckets' locks: a pause that came in between
    // has waited for nobody, and one that comes later waits for us and finds the groups
    const { rows: cut } = await client.query<{
      bucket_id: string;
      group_number: number;
      halted: boolean;
      at_ms: number;
    }>(
      `with cut as (
         insert into carillon.groups (bucket_id, group_number, first_slot, last_slot, mark_slot, not_before, halted_at)
         select g.bucket_id, g.group_number, g.first_slot, g.last_slot, g.first_slot,
           case when g.after_ms = 0 then clock_timestamp()
             else carillon.real_time(b.due_at + g.after_ms * interval '1 millisecond') end,
           case when s.paused_at is not null or t.paused_at is not null then clock_timestamp() end
         from unnest($1::bigint[], $2::int[], $3::int[], $4::int[], $5::int[])
           as g (bucket_id, group_number, first_slot, last_slot, after_ms)
         join carillon.time_buckets b on b.bucket_id = g.bucket_id
         join carillon.schedules s on s.schedule_id = b.schedule_id
         join carillon.topics t on t.topic_id = b.topic_id
         returning bucket_id, group_number, halted_at, not_before
       )
       select bucket_id, group_number, halted_at is not null as halted, (extract(epoch from not_before) * 1000)::float8 as at_ms
       from cut
       where halted_at is not null or not_before > clock_timestamp()`,
      [
        groups.map((group) => group.bucket.bucketId),
        groups.map((group) => group.groupNumber),
        groups.map((group) => group.firstSlot),
        groups.map((group) => group.lastSlot),
        groups.map((group) => group.afterMs),
      ],
    );
    await client.query(
      `update carillon.time_buckets b set cut_at = clock_timestamp(), population = c.population
       from unnest($1::bigint[], $2::int[]) as c (bucket_id, population)
       where b.bucket_id = c.bucket_id`,
      [buckets.map((bucket) => bucket.bucketId), buckets.map((bucket) => bucket.population)],
    );
    const paused = new Set(cut.flatMap((group) => (group.halted ? [group.bucket_id] : [])));
    const releasedAtMs = new Map(cut.map((group) => [`${group.bucket_id}:${group.group_number}`, group.at_ms]));
    const [later, atOnce] = partition(
      groups.filter(({ bucket }) => !paused.has(bucket.bucketId)),
      ({ afterMs }) => afterMs > 0,
    );
    await addGroupJobs(client, [
      ...jobsOf(atOnce, liveNodes),
      ...later.map(({ bucket: { bucketId, dueAtMs }, groupNumber }) => ({
        bucketId,
        groupNumber,
        dueAtMs,
        share: anyShare,
        runAtMs: releasedAtMs.get(`${bucketId}:${groupNumber}`),
      })),
    ]);
    return { buckets: buckets.length, groups: groups.length };
  });
}

interface BucketToCut extends CutWish {
  readonly bucketId: string;
  readonly dueAtMs: number;
  readonly population: number;
}

/** Populations up to here are counted; those that are clearly larger are estimated from one in 64 hash slots. */
const countUpTo = 20_000;
const sampledSlots = 1024;
const sampleOf = 65_536 / sampledSlots;

/** CTEs up to `counted`: the rows of `taken`, which have a schedule_id, with what `population` needs. */
const countedIn = (taken: string) => `
  sampled as materialized (
    select k.*, (
      select count(*) * ${sampleOf} from carillon.subscriptions s
      where s.schedule_id = k.schedule_id and s.hash_slot < ${sampledSlots} and s.ended_at is null) as estimate
    from ${taken} k
  ), counted as materialized (
    select k.*, n.few
    from sampled k
    left join lateral (
      select count(*) as few from (
        select from carillon.subscriptions s
        where s.schedule_id = k.schedule_id and s.ended_at is null
        limit ${countUpTo}) counted
    ) n on k.estimate < 2 * ${countUpTo}
  )`;

/** How many are subscribed to the schedule of a row of `counted`. */
const population = (counted: string) => `
  (case
     when ${counted}.estimate >= 2 * ${countUpTo} then ${counted}.estimate
     when ${counted}.few < ${countUpTo} then ${counted}.few
     else greatest(${counted}.few, ${counted}.estimate)
   end)::int`;

/** How many are subscribed to each schedule, counted as the cut counts them: for whoever looks ahead. */
export async function countPopulations(
  executor: Executor,
  scheduleIds: readonly string[],
): Promise<Map<string, number>> {
  const { rows } = await executor.query<{ schedule_id: string; population: number }>(
    `with taken as materialized (select distinct schedule_id from unnest($1::bigint[]) as w (schedule_id)), ${countedIn("taken")}
     select c.schedule_id, ${population("c")} as population from counted c`,
    [scheduleIds],
  );
  return new Map(rows.map((row) => [row.schedule_id, row.population]));
}

async function takeBuckets(client: pg.PoolClient, untilMs: number, batch: number): Promise<BucketToCut[]> {
  const { rows } = await client.query<{
    bucket_id: string;
    due_at_ms: number;
    group_count: number | null;
    spread_ms: number;
    population: number;
  }>(
    `with taken as materialized (
       select b.bucket_id, b.schedule_id, b.due_at, t.group_count, t.spread_ms
       from carillon.time_buckets b
       join carillon.topics t on t.topic_id = b.topic_id
       where b.closed_at is null and b.cut_at is null and b.cancelled_at is null
         and b.due_at < to_timestamp($1::bigint / 1000.0)
       order by b.due_at, b.bucket_id
       limit $2
       for no key update of b skip locked
     ), ${countedIn("taken")}
     select c.bucket_id, (extract(epoch from c.due_at) * 1000)::float8 as due_at_ms, c.group_count, c.spread_ms,
       ${population("c")} as population
     from counted c
     order by c.due_at, c.bucket_id`,
    [untilMs, batch],
  );
  return rows.map((row) => ({
    bucketId: row.bucket_id,
    dueAtMs: row.due_at_ms,
    presetCount: row.group_count,
    spreadMs: row.spread_ms,
    population: row.population,
  }));
}

/** @param aliveMs a node counts as alive when it has been heard of within this; at least one is counted */
export async function countLiveWorkers(executor: Executor, aliveMs: number): Promise<number> {
  const { rows } = await executor.query<{ live: number }>(
    `select count(*)::int as live from carillon.nodes
     where role = 'worker' and stopped_at is null
       and heartbeat_at > clock_timestamp() - $1::int * interval '1 millisecond'`,
    [aliveMs],
  );
  return Math.max(1, rows[0]?.live ?? 1);
}

interface CutGroup {
  readonly bucket: BucketToCut;
  readonly groupNumber: number;
  /** the bucket's only group */
  readonly alone: boolean;
  /** how long after the moment it is released; milliseconds of carillon.clock() */
  readonly afterMs: number;
}

function partition<T>(items: readonly T[], isFirst: (item: T) => boolean): [T[], T[]] {
  const first: T[] = [];
  const second: T[] = [];
  for (const item of items) (isFirst(item) ? first : second).push(item);
  return [first, second];
}

/** One job for each group, but for small ones one for many; each node may hold its share of a second's jobs ahead of it. */
function jobsOf(groups: readonly CutGroup[], liveNodes: number): GroupJobPayload[] {
  const bundles = bundlesOf(groups);
  const secondOf = ({ bucket }: CutGroup) => Math.floor(bucket.dueAtMs / 1000);
  const perSecond = new Map<number, number>();
  for (const [first] of bundles) perSecond.set(secondOf(first), (perSecond.get(secondOf(first)) ?? 0) + 1);
  return bundles.map(([first, ...more]) => ({
    bucketId: first.bucket.bucketId,
    groupNumber: first.groupNumber,
    dueAtMs: first.bucket.dueAtMs,
    share: Math.ceil((perSecond.get(secondOf(first)) ?? 1) / liveNodes),
    more: more.map(({ bucket, groupNumber }) => ({ bucketId: bucket.bucketId, groupNumber })),
  }));
}

/** The only groups of small buckets that are due at the same instant, as many as are taken in one go; others alone. */
function bundlesOf(groups: readonly CutGroup[]): (readonly [CutGroup, ...CutGroup[]])[] {
  const bundles: [CutGroup, ...CutGroup[]][] = [];
  let open: [CutGroup, ...CutGroup[]] | null = null;
  let members = 0;
  for (const group of groups) {
    const { population, dueAtMs } = group.bucket;
    const small = group.alone && population <= smallBucket;
    const fits = members + population <= bundleMembers && (open?.length ?? 0) < bundleGroups;
    if (open !== null && small && fits && open[0].bucket.dueAtMs === dueAtMs) {
      open.push(group);
      members += population;
      continue;
    }
    const bundle: [CutGroup, ...CutGroup[]] = [group];
    bundles.push(bundle);
    if (!small) continue;
    open = bundle;
    members = population;
  }
  return bundles;
}
