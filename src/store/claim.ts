import type { MessageSource } from "../reminder/message.ts";
import { byKey, type Executor, type Statement } from "./executor.ts";

/** Who may write about a group: rises with each claim, and a token that no other claim has. */
export interface Fence {
  readonly bucketId: string;
  readonly groupNumber: number;
  readonly epoch: number;
  readonly claimToken: string;
}

/** For `unnest($1::bigint[], $2::int[], $3::int[], $4::uuid[])`. */
export function fenceColumns(fences: readonly Fence[]): readonly unknown[][] {
  return [
    fences.map(({ bucketId }) => bucketId),
    fences.map(({ groupNumber }) => groupNumber),
    fences.map(({ epoch }) => epoch),
    fences.map(({ claimToken }) => claimToken),
  ];
}

export interface ClaimedGroup extends Fence {
  readonly dueDay: string;
  readonly dueAtMs: number;
  readonly expiresAtMs: number;
  readonly scheduleId: string;
  readonly occurrence: string;
  readonly nextChunk: number;
  readonly pagedThrough: boolean;
  readonly takeovers: number;
  readonly cancelled: boolean;
  readonly paused: boolean;
  /** most users with an endpoint are members of the bucket */
  readonly dense: boolean;
  /** how many members it is expected to have, where the bucket is small and this its only group; else null */
  readonly smallPopulation: number | null;
  readonly topic: ClaimedTopic;
}

export interface ClaimedTopic extends MessageSource {
  readonly topicId: number;
  /** rises with each change of what it says */
  readonly version: number;
  readonly priority: "high" | "normal";
  readonly deliveryMode: "at_least_once" | "at_most_once";
  /** as in Topic; a hint, since it is the intent that decides */
  readonly reach: "all" | "first";
}

export interface Claimant {
  readonly nodeId: number;
  /** a fresh uuid */
  readonly claimToken: string;
  readonly leaseMs: number;
}

/** A bucket of so few is one group, and is claimed and delivered in a bundle with others of its kind: */
export const smallBucket = 500;
/** so many groups at most, and about so many members. */
export const bundleGroups = 64;
export const bundleMembers = 5000;

/**
 * Claiming: the group that is chosen first, and with the group of a small bucket a bundle of its kind, since a
 * round of statements each for thousands of small places would take longer than sending. Interleavings:
 * - two workers, one group: SKIP LOCKED gives it to one; the other, if it comes after the commit, finds a live lease.
 * - a worker that lost its lease and does not know: epoch and token have moved on, and every write of its is refused.
 * - its write of an outcome is under way just now: it holds the row's lock, so this claim passes the group over (the
 *   next sweep comes back), and who claims later sees that outcome.
 * - halted groups are left alone until their bucket is cancelled or expired: then somebody must record that.
 *
 * NO KEY UPDATE, since the foreign keys of `deferred` share-lock the key.
 */
const claimable = `
          g.finished_at is null
          and g.not_before <= clock_timestamp()
          and (g.lease_until is null or g.lease_until < clock_timestamp())
          and (g.halted_at is null or b.cancelled_at is not null or b.expires_at <= carillon.clock())`;

/** The expected members of a bucket's only group; a bucket that is cut into several wants to be shared, not bundled. */
const populationAlone = (group: string) => `
      case when not exists (
        select from carillon.groups o
        where o.bucket_id = ${group}.bucket_id and o.group_number = (${group}.group_number = 0)::int
      ) then b.population end`;

/**
 * In the order of the index, and so that no more is read and locked than is taken: who finds all others locked goes
 * away, and nobody would take those.
 */
const dueGroups = (buckets: string, groups: string) => `
      from (
        select * from carillon.time_buckets b
        where b.closed_at is null and b.due_at <= carillon.clock() and ${buckets}
        order by b.due_at, b.bucket_id
      ) b
      cross join lateral (
        select g.bucket_id, g.group_number, ${populationAlone("g")} as population
        from carillon.groups g
        where g.bucket_id = b.bucket_id and ${claimable} and ${groups}
        order by g.group_number
        for no key update of g skip locked
      ) g`;

const chooseNextDue = `
    first as materialized (
      select g.bucket_id, g.group_number, b.due_at, coalesce(g.population, ${smallBucket} + 1) as population
      ${dueGroups("true", "true")}
      limit 1
    ), bundled as materialized (
      select g.bucket_id, g.group_number
      ${dueGroups(
        `(select population from first) <= ${smallBucket} and b.due_at >= (select due_at from first)
          and b.bucket_id <> (select bucket_id from first) and b.population <= ${smallBucket}`,
        `${populationAlone("g")} is not null`,
      )}
      limit (select least($4::int, ${bundleMembers} / greatest(population, 1)) - 1 from first)
    ), chosen as materialized (
      select bucket_id, group_number from first
      union all
      select bucket_id, group_number from bundled
    )`;

const chooseThese = `
    chosen as materialized (
      select g.bucket_id, g.group_number
      from (
        select * from unnest($4::bigint[], $5::int[]) as w (bucket_id, group_number) order by bucket_id, group_number
      ) w
      cross join lateral (
        select g.bucket_id, g.group_number
        from carillon.time_buckets b, carillon.groups g
        where b.bucket_id = w.bucket_id and g.bucket_id = w.bucket_id and g.group_number = w.group_number
          and b.closed_at is null and ${claimable}
        for no key update of g skip locked
      ) g
    )`;

const claimStatement = (name: string, choose: string): Statement => ({
  name,
  text: `
    with ${choose}, claimed as (
      update carillon.groups g
      set epoch = g.epoch + 1,
          claim_token = $2,
          node_id = $1,
          lease_until = clock_timestamp() + $3::int * interval '1 millisecond',
          started_at = coalesce(g.started_at, clock_timestamp()),
          takeovers = g.takeovers + (g.lease_until is not null)::int,
          rescues = g.rescues + (g.lease_until is not null)::int
      from chosen c
      where ${byKey("g.bucket_id", "c.bucket_id")} and ${byKey("g.group_number", "c.group_number")}
      returning g.bucket_id, g.group_number, g.epoch, g.next_chunk, g.paged_at, g.takeovers
    )
    select c.bucket_id, c.group_number, c.epoch, c.next_chunk, c.paged_at is not null as paged_through, c.takeovers,
      b.due_day::text, b.schedule_id, b.occurrence, b.cancelled_at is not null as cancelled,
      (extract(epoch from b.due_at) * 1000)::float8 as due_at_ms,
      (extract(epoch from b.expires_at) * 1000)::float8 as expires_at_ms,
      s.paused_at is not null or t.paused_at is not null as paused,
      coalesce(b.population, 0) * 4.0 >= (
        select greatest(c.reltuples, 0) from pg_class c where c.oid = 'carillon.endpoints'::regclass) as dense,
      (select p.population from (select ${populationAlone("c")} as population) p
        where p.population <= ${smallBucket}) as small_population,
      t.topic_id, t.version, t.name, t.title, t.body, t.data, t.image, t.sound, t.link, t.locale, t.variants, t.priority,
      t.delivery_mode, t.reach
    from claimed c
    join carillon.time_buckets b on ${byKey("b.bucket_id", "c.bucket_id")}
    join carillon.schedules s on ${byKey("s.schedule_id", "b.schedule_id")}
    join carillon.topics t on ${byKey("t.topic_id", "b.topic_id")}
    order by b.due_at, c.bucket_id, c.group_number`,
});

const claimNextDueStatement = claimStatement("claim_next_due", chooseNextDue);
const claimTheseStatement = claimStatement("claim_these", chooseThese);

/**
 * Takes the group that has been due longest of those that nobody holds, and with the group of a small bucket a bundle
 * of its kind; none where nothing is due.
 *
 * @param limit groups at most
 */
export function claimNextDue(
  executor: Executor,
  claimant: Claimant,
  limit = bundleGroups,
): Promise<readonly ClaimedGroup[]> {
  return claim(executor, claimNextDueStatement, claimant, [limit]);
}

export interface GroupRef {
  readonly bucketId: string;
  readonly groupNumber: number;
}

/** Takes these very groups, even ahead of their moment; not those that somebody holds or that have nothing to do yet. */
export function claimGroups(
  executor: Executor,
  claimant: Claimant,
  groups: readonly GroupRef[],
): Promise<readonly ClaimedGroup[]> {
  return claim(executor, claimTheseStatement, claimant, [
    groups.map(({ bucketId }) => bucketId),
    groups.map(({ groupNumber }) => groupNumber),
  ]);
}

/** As `claimGroups`, one. */
export async function claimGroup(
  executor: Executor,
  claimant: Claimant,
  bucketId: string,
  groupNumber: number,
): Promise<ClaimedGroup | null> {
  const [group] = await claimGroups(executor, claimant, [{ bucketId, groupNumber }]);
  return group ?? null;
}

interface ClaimRow {
  bucket_id: string;
  group_number: number;
  epoch: number;
  next_chunk: number;
  paged_through: boolean;
  takeovers: number;
  due_day: string;
  schedule_id: string;
  occurrence: string;
  cancelled: boolean;
  paused: boolean;
  dense: boolean;
  small_population: number | null;
  due_at_ms: number;
  expires_at_ms: number;
  topic_id: number;
  name: string;
  title: string;
  body: string;
  data: unknown;
  version: number;
  image: string | null;
  sound: string | null;
  link: string | null;
  locale: string;
  variants: unknown;
  priority: "high" | "normal";
  delivery_mode: "at_least_once" | "at_most_once";
  reach: "all" | "first";
}

async function claim(
  executor: Executor,
  statement: Statement,
  claimant: Claimant,
  which: readonly unknown[],
): Promise<readonly ClaimedGroup[]> {
  const { rows } = await executor.query<ClaimRow>({
    ...statement,
    values: [claimant.nodeId, claimant.claimToken, claimant.leaseMs, ...which],
  });
  return rows.map((row) => ({
    bucketId: row.bucket_id,
    groupNumber: row.group_number,
    epoch: row.epoch,
    claimToken: claimant.claimToken,
    dueDay: row.due_day,
    dueAtMs: row.due_at_ms,
    expiresAtMs: row.expires_at_ms,
    scheduleId: row.schedule_id,
    occurrence: row.occurrence,
    nextChunk: row.next_chunk,
    pagedThrough: row.paged_through,
    takeovers: row.takeovers,
    cancelled: row.cancelled,
    paused: row.paused,
    dense: row.dense,
    smallPopulation: row.small_population,
    topic: {
      topicId: row.topic_id,
      name: row.name,
      title: row.title,
      body: row.body,
      data: row.data,
      version: row.version,
      image: row.image,
      sound: row.sound,
      link: row.link,
      locale: row.locale,
      variants: row.variants,
      priority: row.priority,
      deliveryMode: row.delivery_mode,
      reach: row.reach,
    },
  }));
}
