import { outcomeCodes, quietHoursReason } from "../reminder/outcome-code.ts";
import { type Chunk, type ChunkRow, chunkOf, roll, rollColumns } from "./chunk.ts";
import { type Fence, fenceColumns } from "./claim.ts";
import { byKey, type Executor, type Statement } from "./executor.ts";
import { anyWishes, askEither, askedByGate, endpointsOf, gate, nextTryAfter } from "./gate.ts";
import { mayBeSent, membersBehindMark } from "./intent.ts";

/** The first and only chunk of a small group. */
export interface SmallIntent {
  readonly fence: Fence;
  readonly chunkNumber: number;
  /** deliveries at most: who has more is not taken here */
  readonly limit: number;
  readonly leaseMs: number;
}

/** As in intent.ts. */
const putOff = `, put_off as (
      insert into carillon.deferred (bucket_id, group_number, hash_slot, user_number, ordinal, attempt, next_try_at, reason)
      select f.bucket_id, f.group_number, q.hash_slot, q.user_number, coalesce(m.ordinal, 1::smallint), 1,
        ${nextTryAfter("q")}, '${quietHoursReason}'
      from fence f
      join rolls r on r.nth = f.nth
      cross join lateral unnest(r.user_numbers, r.ordinals) with ordinality as m (user_number, ordinal, place)
      join quiet q on q.nth = f.nth and q.user_number = m.user_number
      where (select sum(waiting) from rolls) > 0
        and get_byte(r.refused, m.place::int - 1) = ${outcomeCodes.heldByQuietHours}
    )`;

/*
 * Intents of many small groups in one statement: what `intend` does for one, for each of them by itself. Its states and
 * interleavings hold for each group. What differs:
 * - the rows are locked before anything is read, in the order of their key, and rows that somebody else has locked are
 *   passed over; so it waits for nobody and two of them can't deadlock. Under the lock the newest version of the row is
 *   judged (READ COMMITTED), so a cancel or pause that came first is seen, and one that comes later waits.
 * - groups of topics that are content with the first endpoint that accepts are left to `intend`.
 * - a group is taken as a whole, with one chunk, or left alone: if it has more members than its limit, is refused, or is
 *   locked, it gets no row in the answer. Whoever asked then asks `intend`, which knows what to do and say.
 *
 * Planned once a connection, like the other statements of the fire loop: for two groups of 300 planning took as long as all
 * the rest. So every table is read by look-ups only (LATERAL around the lock, a LIMIT, or `byKey`), whatever the sizes of
 * tables were when it was planned. test/store/shared-plans.test.ts watches that.
 */
const intendManyStatement = (wishes: boolean): Statement => ({
  name: wishes ? "intend_many_heeding_wishes" : "intend_many",
  text: `
    with asked as materialized (
      select * from unnest($1::bigint[], $2::int[], $3::int[], $4::uuid[], $5::int[], $6::int[]) with ordinality
        as a (bucket_id, group_number, epoch, claim_token, chunk_number, most, nth)
    ), held as materialized (
      select a.nth, a.most, a.epoch, a.claim_token, a.chunk_number, a.bucket_id, a.group_number, h.*
      from (select * from asked order by bucket_id, group_number) a
      cross join lateral (
        select g.mark_slot, g.mark_user, g.last_slot, b.schedule_id, b.topic_id, b.due_at, b.due_day, b.expires_at,
           t.ignores_quiet_hours, now.at as asked_at
        from carillon.groups g
        cross join carillon.time_buckets b
        join carillon.schedules s on ${byKey("s.schedule_id", "b.schedule_id")}
        join carillon.topics t on ${byKey("t.topic_id", "b.topic_id")}
        cross join (select carillon.clock() as at offset 0) as now
        where g.bucket_id = a.bucket_id and g.group_number = a.group_number and b.bucket_id = a.bucket_id
          and g.epoch = a.epoch and g.claim_token = a.claim_token and g.next_chunk = a.chunk_number and (${mayBeSent})
          and t.reach = 'all' and ${wishes ? "true" : `not ${anyWishes}`}
        for no key update of g skip locked
      ) h
    ), page as materialized (
      select h.nth, h.topic_id, s.hash_slot, s.user_number, s.has_left
      from ${membersBehindMark("h.most + 1")}
    ), ${askedByGate({ page: "page", many: true, wishes })}, reached as materialized (
      select p.*, e.*
      from page p ${endpointsOf("p")}
    ), judged as (
      select n.*, ${gate("n", { many: true, wishes })} as code
      from (select * from reached order by nth, hash_slot, user_number, ordinal offset 0) n
      offset 0
    ), rolls as materialized (
      ${roll("judged", "0", { by: "m.nth" })}
      group by m.nth
    ), fits as materialized (
      select h.*, coalesce(r.members, 0) as members, coalesce(r.refusals, 0) as refusals, r.last_slot as through_slot,
        r.user_numbers[r.members] as through_user
      from held h
      left join rolls r on r.nth = h.nth
      where coalesce(r.members, 0) <= h.most
    ), fence as (
      update carillon.groups g
      set next_chunk = g.next_chunk + (f.members > 0)::int,
          lease_until = clock_timestamp() + $7::int * interval '1 millisecond',
          takeovers = case when f.members > 0 then 0 else g.takeovers end,
          suppressed = g.suppressed + f.refusals,
          intended = g.intended + f.members,
          mark_slot = coalesce(f.through_slot, g.mark_slot),
          mark_user = coalesce(f.through_user, g.mark_user),
          paged_at = coalesce(g.paged_at, clock_timestamp())
      from fits f
      where ${byKey("g.bucket_id", "f.bucket_id")} and ${byKey("g.group_number", "f.group_number")}
        and g.epoch = f.epoch and g.claim_token = f.claim_token and g.next_chunk = f.chunk_number
        and g.halted_at is null
      returning f.nth, f.due_day, f.asked_at, f.chunk_number, g.bucket_id, g.group_number, g.epoch, g.node_id
    ), chunk as (
      insert into carillon.chunks (due_day, bucket_id, group_number, chunk_number, epoch, node_id, attempt, intent_at,
        first_slot, first_user, last_slot, last_user, user_numbers, ordinals, refused)
      select f.due_day, f.bucket_id, f.group_number, f.chunk_number, f.epoch, f.node_id, 0, f.asked_at,
        r.first_slot, r.user_numbers[1], r.last_slot, r.user_numbers[r.members], r.user_numbers, r.ordinals, r.refused
      from fence f
      join rolls r on r.nth = f.nth
    )${wishes ? putOff : ""}
    select f.nth::int, ${rollColumns}, true as paged_through, 0 as attempt, ${wishes ? anyWishes : "false"} as wishes
    from fence f
    left join rolls r on r.nth = f.nth`,
});
const intendManyPlainly = intendManyStatement(false);
const intendManyHeedingWishes = intendManyStatement(true);

/**
 * Intents for small groups, each whole in one chunk.
 *
 * @returns one for each request, in order; null: nothing was written about this group, and `intend` is to be asked
 */
export async function intendMany(
  executor: Executor,
  requests: readonly SmallIntent[],
): Promise<readonly (Chunk | null)[]> {
  const values = [
    ...fenceColumns(requests.map(({ fence }) => fence)),
    requests.map(({ chunkNumber }) => chunkNumber),
    requests.map(({ limit }) => limit),
    Math.max(...requests.map(({ leaseMs }) => leaseMs)),
  ];
  const rows = await askEither(executor, async (heeding) => {
    const statement = heeding ? intendManyHeedingWishes : intendManyPlainly;
    const { rows: found } = await executor.query<ChunkRow & { nth: number; wishes: boolean }>({ ...statement, values });
    return found.length === 0 ? null : { answer: found, wishes: found[0]?.wishes === true };
  });
  const found = new Map((rows ?? []).map((row) => [row.nth, row]));
  return requests.map(({ chunkNumber }, index) => chunkOf(found.get(index + 1), chunkNumber));
}
