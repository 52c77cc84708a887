import { outcomeCodes, quietHoursReason } from "../reminder/outcome-code.ts";
import { allSlots, type Chunk, type ChunkRow, chunkOf, roll, rollColumns } from "./chunk.ts";
import type { Fence } from "./claim.ts";
import type { Executor, Statement } from "./executor.ts";
import { anyWishes, askEither, askedByGate, endpointsOf, gate, hasLeft, hasPart, nextTryAfter } from "./gate.ts";
import { anyStandby, codeInTurn, standbyRows, standingBy, turnOfOthers } from "./reach.ts";

export interface IntentRequest {
  readonly fence: Fence;
  /** the number that the chunk is to have: the fence against two intents that read from the same mark */
  readonly chunkNumber: number;
  /** deliveries at most (more only where one user alone has more endpoints than that) */
  readonly limit: number;
  readonly leaseMs: number;
  /**
   * Not to be sent but to be recorded so: the final code that every member gets. Then neither the moment, the expiry nor
   * a halt stands in the way.
   */
  readonly recordAs: number | null;
  /** most users with an endpoint are members: their endpoints are read as one range instead of one by one */
  readonly dense?: boolean;
  /** the topic is content with the first endpoint that accepts: a hint of which text is to be asked first */
  readonly first?: boolean;
}

/*
 * Intent. States of a member: unsent (beyond the mark) -> intended (in a chunk) -> outcome. One statement moves the mark,
 * renews the lease and writes the chunk with its members, so that either all of it stands or nothing.
 *
 * Interleavings:
 * - unsubscribe, mute, opt-out, quiet hours, suppression, prune: committed before this statement began, they are in its snapshot and honoured.
 * - cancel, pause: they set halted_at on the group's row. Whoever locks the row first is first: an intent that was
 *   waiting checks halted_at on the new row (READ COMMITTED re-evaluates the update's condition) and is refused; an
 *   intent that was first makes the cancel wait, and its send is one that was begun before.
 * - a move to another place: who stood here when the moment came stays a member of it, whenever the move is committed
 *   (ended_at lies behind the moment, and moved_to is set): there is no race to decide.
 * - another claim: epoch and token have moved on; refused.
 * - the reply is lost: the same chunk number can't be written twice (key), and `findIntent` tells whether it stands.
 * - the local timer ran ahead: due_at <= carillon.clock() is asked here, where the clock is.
 *
 * The page is fenced off as materialized, and the endpoints of a user are read under a LIMIT inside LATERAL: so the plan
 * stays a nested loop over two primary keys in the order in which both tables lie, whatever the statistics say. (With a
 * plain join a generic plan once turned into a hash join over all users: 254 -> 69 k/s. test/store/intent-plan.test.ts
 * watches the plan.) Where most users are members ($9), their endpoints lie in one short range of that key, and reading
 * the range costs a tenth of looking up each (0.09 against 0.8 ms for 500). A wrong guess costs time, never a member.
 */
export const mayBeSent = `
  g.halted_at is null and b.cancelled_at is null and s.paused_at is null and t.paused_at is null
  and b.due_at <= now.at and b.expires_at > now.at`;

const held = (also = "true") => `
  held as materialized (
    select g.bucket_id, g.group_number, g.mark_slot, g.mark_user, g.last_slot,
      b.schedule_id, b.topic_id, b.due_at, b.due_day, b.expires_at, t.ignores_quiet_hours, t.reach, t.channel_order,
      now.at as asked_at
    from carillon.groups g
    join carillon.time_buckets b on b.bucket_id = g.bucket_id
    join carillon.schedules s on s.schedule_id = b.schedule_id
    join carillon.topics t on t.topic_id = b.topic_id
    -- read once: the time that was judged is the time that is recorded
    cross join (select carillon.clock() as at offset 0) as now
    where g.bucket_id = $1 and g.group_number = $2 and g.epoch = $3 and g.claim_token = $4 and g.next_chunk = $5
      and ($8::int is not null or (${mayBeSent})) and ${also}
  )`;

/** How many of a roll the gate refused, by final state; nothing to count where it let all pass. */
const tally = `
  tally as materialized (
    select (count(*) filter (where c.code in (10, 11, 12, 13, 14)))::int as failed,
      (count(*) filter (where c.code between 30 and 39))::int as suppressed,
      (count(*) filter (where c.code = 20))::int as expired,
      (count(*) filter (where c.code = 40))::int as cancelled,
      (count(*) filter (where c.code = 13))::int as in_doubts,
      (count(*) filter (where c.code in (${outcomeCodes.heldByQuietHours}, ${outcomeCodes.standsBy})))::int as waiting
    from roll r
    cross join lateral generate_series(0, length(r.refused) - 1) as place
    cross join lateral (select get_byte(r.refused, place) as code) c
  )`;

/**
 * Whom quiet hours hold, and what stands by for another endpoint, gets a row in `deferred`, in this very statement: a crash
 * leaves neither a member who is to come again without it, nor it without the member. It goes on from there as what a
 * receiver told to come again (see ARCHITECTURE.md, "Quiet hours", "The first that accepts"); its try has the number 1,
 * since the first one's members come from a page.
 */
const putOff = `
  put_off as (
    insert into carillon.deferred
      (bucket_id, group_number, hash_slot, user_number, ordinal, attempt, next_try_at, standby, reason)
    select f.bucket_id, f.group_number, q.hash_slot, q.user_number, coalesce(m.ordinal, 1::smallint), 1::smallint,
      ${nextTryAfter("q")}, null::smallint, '${quietHoursReason}'
    from fence f
    cross join roll r
    cross join lateral unnest(r.user_numbers, r.ordinals) with ordinality as m (user_number, ordinal, place)
    join quiet q on q.user_number = m.user_number
    where (select waiting from tally) > 0
      and get_byte(r.refused, m.place::int - 1) = ${outcomeCodes.heldByQuietHours}
    union all ${standbyRows}
    where (select waiting from tally) > 0
  )`;

/** The next members `s` behind the mark of each group `h` of `held`, in firing order. */
export const membersBehindMark = (limit: string) => `
      held h
      cross join lateral (
        select s.hash_slot, s.user_number, ${hasLeft("s")} as has_left
        from carillon.subscriptions s
        where s.schedule_id = h.schedule_id
          and (s.hash_slot, s.user_number) > (h.mark_slot, h.mark_user)
          and s.hash_slot <= h.last_slot
          and ${hasPart("s", "h.due_at")}
        order by s.hash_slot, s.user_number
        limit ${limit}
      ) s`;

/**
 * In firing order and with each one's code, worked out once a member (OFFSET 0) and not at each use. The aggregates of a
 * roll take their input as it comes from here: sorted once, not once each (before Postgres 16).
 */
const judged = (members: string, code: string) => `(
    select n.*, ${code} as code
    from (select * from ${members} order by hash_slot, user_number, ordinal offset 0) n
    offset 0)`;

const insertChunk = `
  chunk as (
    insert into carillon.chunks (due_day, bucket_id, group_number, chunk_number, epoch, node_id, attempt, intent_at,
      first_slot, first_user, last_slot, last_user, user_numbers, ordinals, refused)
    select f.due_day, f.bucket_id, f.group_number, $5, $3, f.node_id, r.attempt, f.asked_at,
      r.first_slot, r.user_numbers[1], r.last_slot, r.user_numbers[r.members], r.user_numbers, r.ordinals, r.refused
    from fence f, roll r
    where r.members > 0
  )`;

const writeFence = (moved: string) => `
  fence as (
    update carillon.groups g
    set next_chunk = g.next_chunk + (r.members > 0)::int,
        lease_until = clock_timestamp() + $7::int * interval '1 millisecond',
        takeovers = case when r.members > 0 then 0 else g.takeovers end,
        failed = g.failed + y.failed,
        suppressed = g.suppressed + y.suppressed,
        expired = g.expired + y.expired,
        cancelled = g.cancelled + y.cancelled,
        ${moved}
    from held h, roll r, tally y
    where g.bucket_id = h.bucket_id and g.group_number = h.group_number
      and g.epoch = $3 and g.claim_token = $4 and g.next_chunk = $5
      and ($8::int is not null or g.halted_at is null)
    returning h.due_day, h.asked_at, g.bucket_id, g.group_number, g.node_id, g.paged_at is not null as paged_through
  )`;

const answer = (wishes: boolean, standby: string) => `
    select ${rollColumns}, f.paged_through, coalesce(r.attempt, 0) as attempt, ${wishes ? anyWishes : "false"} as wishes,
      ${standby} as standby
    from fence f, roll r`;

/*
 * Where wishes are heeded, each endpoint is asked about once, and then whose turn it is; that, too, is left out of the
 * plain text, which topics that are content with the first endpoint therefore can't use.
 */
const intendStatement = (wishes: boolean): Statement => {
  const source = wishes ? "asked" : "reached";
  const code = wishes ? codeInTurn("n") : `coalesce($8::int, ${gate("n", { wishes })})`;
  return {
    name: wishes ? "intend_heeding_wishes" : "intend",
    text: `
    with ${held(wishes ? "true" : `t.reach = 'all' and not ${anyWishes}`)}, page as materialized (
      select s.hash_slot, s.user_number, s.has_left
      from ${membersBehindMark("$6")}
    ), ${askedByGate({ page: "page", dense: "$9::boolean", wishes })}, near as materialized (
      select e.*
      from span r
      cross join lateral (
        select e.hash_slot, e.user_number, e.ordinal, e.channel, e.destination_id, e.address, e.zone, e.locale
        from carillon.endpoints e
        where e.hash_slot between r.first_slot and r.last_slot and e.gone_at is null
        offset 0
      ) e
      where $9::boolean
    ), reached as not materialized (
      select p.*, e.ordinal, e.channel, e.destination_id, e.address, e.zone, e.locale
      from page p
      left join near e on e.hash_slot = p.hash_slot and e.user_number = p.user_number
      where $9::boolean
      union all
      select p.*, e.*
      from page p ${endpointsOf("p")}
      where not $9::boolean
    )${
      wishes
        ? `, asked as materialized (
      select n.*, coalesce($8::int, ${gate("n")}) as gate_code from reached n
    ), ${standingBy("asked")}`
        : ""
    }, everybody as materialized (
      ${roll(judged(source, code), "0")}
    ), numbered as (
      select r.*,
        row_number() over firing_order as position,
        lead(r.user_number) over firing_order is distinct from r.user_number as last_of_user
      from ${source} r
      where (select members from everybody) > $6
      window firing_order as (order by r.hash_slot, r.user_number, r.ordinal)
    ), through as materialized (
      select coalesce(
        max(position) filter (where last_of_user and position <= $6),
        min(position) filter (where last_of_user)) as position
      from numbered
    ), fitting as (
      select * from numbered where position <= (select position from through)
    ), roll as materialized (
      -- more endpoints than room: as many users as fit with all of theirs, or one
      select * from everybody where members <= $6
      union all
      select * from (${roll(judged("fitting", code), "0")}) f where (select members from everybody) > $6
    ), ${tally}, ${writeFence(`
        mark_slot = coalesce(r.last_slot, g.mark_slot),
        mark_user = coalesce(r.user_numbers[r.members], g.mark_user),
        intended = g.intended + r.members,
        in_doubts = g.in_doubts + y.in_doubts,
        paged_at = case
          when (select count(*) from page) < $6 and (select members from everybody) <= $6
          then coalesce(g.paged_at, clock_timestamp()) end`)}, ${insertChunk}${wishes ? `, ${putOff}` : ""}
    ${answer(wishes, "false")}`,
  };
};
const intendPlainly = intendStatement(false);
const intendHeedingWishes = intendStatement(true);

/** Looked up by their whole key (OFFSET 0): joined freely, each row of the group was held against each that is taken. */
const takenWith = (code: string) =>
  `(select f.bucket_id, f.group_number, m.* from fence f cross join taken m where ${code} offset 0)`;
const theirRow = `d.bucket_id = m.bucket_id and d.group_number = m.group_number
        and d.hash_slot = m.hash_slot and d.user_number = m.user_number and d.ordinal = m.ordinal`;

/*
 * Intent of deliveries that are tried again. The same fence; the members come from `deferred` instead of a page, and the
 * gate is asked anew. Who left, or lost the endpoint, while perhaps sent to already stays failed, in doubt; so does what
 * is recorded instead of sent. Who has quiet hours by now stays deferred, until their end. What stands by is left alone
 * until its turn comes, or it is recorded as not needed; whom the gate refuses gives the turn to the next. All members of
 * one chunk have the same number of attempts behind them.
 */
const intendDeferredStatement: Statement = {
  name: "intend_deferred",
  text: `
    with ${held()}, due as materialized (
      select d.hash_slot, d.user_number, d.ordinal as wanted_ordinal, d.attempt, d.in_doubt, d.standby
      from held h
      join carillon.deferred d on d.bucket_id = h.bucket_id and d.group_number = h.group_number
      where d.intent_chunk is null
        and ($8::int is not null or (d.next_try_at <= clock_timestamp() and d.parked_at is null
          -- not those that stand by, whatever the time
          and coalesce(d.standby, 0) = 0))
      order by d.attempt, d.hash_slot, d.user_number, d.ordinal
      limit $6
    ), ${askedByGate({ page: "due" })}, taken as materialized (
      select d.hash_slot, d.user_number, d.attempt, d.wanted_ordinal as ordinal,
        e.channel, e.destination_id, e.address, e.zone, e.locale,
        case
          when d.standby = 0 then ${outcomeCodes.notNeeded}
          when $8::int is not null then case when d.in_doubt then 14 else $8::int end
          when d.in_doubt and c.code not in (0, ${outcomeCodes.heldByQuietHours}) then 14
          else c.code
        end as code
      from due d
      cross join held h
      left join carillon.subscriptions s
        on s.schedule_id = h.schedule_id and s.hash_slot = d.hash_slot and s.user_number = d.user_number
      left join carillon.endpoints e
        on e.hash_slot = d.hash_slot and e.user_number = d.user_number and e.ordinal = d.wanted_ordinal
        and e.gone_at is null
      cross join lateral (
        select s.user_number is null or ${hasLeft("s")} as has_left, d.user_number, e.ordinal, e.channel, e.destination_id
      ) as asked
      cross join lateral (select ${gate("asked")} as code) c
      where d.attempt = (select min(attempt) from due)
    ), roll as materialized (
      ${roll("(select * from taken order by hash_slot, user_number, ordinal offset 0)", "min(m.attempt)", { hashSlots: allSlots })}
    ), ${tally}, ${writeFence("intended = g.intended")}, ${insertChunk}, refused as (
      delete from carillon.deferred d
      using ${takenWith(`m.code not in (0, ${outcomeCodes.heldByQuietHours})`)} m
      where ${theirRow}
    ), put_off as (
      update carillon.deferred d
      set next_try_at = ${nextTryAfter("q")}, reason = '${quietHoursReason}'
      from ${takenWith(`m.code = ${outcomeCodes.heldByQuietHours}`)} m
      join quiet q on q.user_number = m.user_number
      where ${theirRow}
    ), under_way as (
      update carillon.deferred d
      set intent_chunk = $5
      from ${takenWith("m.code = 0")} m
      where ${theirRow}
    ), turn_of_others as (${turnOfOthers(`
          select f.bucket_id, f.group_number, m.user_number, bool_or(m.code = ${outcomeCodes.inDoubtLeft}) as reached
          from fence f, taken m
          where m.code not in (0, ${outcomeCodes.heldByQuietHours}, ${outcomeCodes.notNeeded})
            -- where all are recorded, they are in turn
            and $8::int is null
          group by f.bucket_id, f.group_number, m.user_number`)}
    )
    ${answer(true, anyStandby("f.bucket_id", "f.group_number"))}`,
};

/** Its members in the chunk's own order, which outcomes refer to; one that was erased since has no address to send to. */
const membersOfChunk = `(
    select coalesce(u.hash_slot, 0) as hash_slot, n.user_number, coalesce(n.ordinal, 1::smallint) as ordinal,
      coalesce(get_byte(c.refused, n.position::int - 1), 0) as code,
      coalesce(e.channel, 'erased') as channel, e.destination_id, e.address, e.zone, e.locale
    from unnest(c.user_numbers, c.ordinals) with ordinality as n (user_number, ordinal, position)
    left join carillon.users u on u.user_number = n.user_number
    left join carillon.endpoints e
      on e.hash_slot = u.hash_slot and e.user_number = n.user_number and e.ordinal = coalesce(n.ordinal, 1)
    order by n.position
    offset 0)`;

/** A chunk that stands, as its intent returned it. */
const findIntentStatement: Statement = {
  name: "find_intent",
  text: `
    select ${rollColumns}, g.paged_at is not null as paged_through, r.attempt,
      ${anyStandby("c.bucket_id", "c.group_number")} as standby
    from carillon.chunks c
    join carillon.groups g on g.bucket_id = c.bucket_id and g.group_number = c.group_number
    cross join lateral (${roll(membersOfChunk, "c.attempt", { hashSlots: `case when c.attempt > 0 then ${allSlots} end` })}
    ) r
    where c.bucket_id = $1 and c.group_number = $2 and c.chunk_number = $3 and c.due_day = $5 and c.epoch = $4`,
};

/** Intent for the next members of a group; null: refused, see refusal.ts. */
export function intend(executor: Executor, request: IntentRequest): Promise<Chunk | null> {
  return askEither(
    executor,
    (heeding) => run(executor, heeding ? intendHeedingWishes : intendPlainly, request),
    request.first,
  );
}

/** Intent for deferred deliveries of a group whose next try has come; null: refused, see refusal.ts. */
export async function intendDeferred(executor: Executor, request: IntentRequest): Promise<Chunk | null> {
  return (await run(executor, intendDeferredStatement, request))?.answer ?? null;
}

/** For an intent whose reply was lost: the chunk, if it stands under this epoch; else null, and it never will by itself. */
export async function findIntent(
  executor: Executor,
  fence: Fence,
  chunkNumber: number,
  dueDay: string,
): Promise<Chunk | null> {
  const { rows } = await executor.query<ChunkRow>({
    ...findIntentStatement,
    values: [fence.bucketId, fence.groupNumber, chunkNumber, fence.epoch, dueDay],
  });
  return chunkOf(rows[0], chunkNumber);
}

async function run(
  executor: Executor,
  statement: Statement,
  request: IntentRequest,
): Promise<{ readonly answer: Chunk; readonly wishes: boolean } | null> {
  const { fence, chunkNumber, limit, leaseMs, recordAs, dense = false } = request;
  const { rows } = await executor.query<ChunkRow & { wishes: boolean }>({
    ...statement,
    values: [
      fence.bucketId,
      fence.groupNumber,
      fence.epoch,
      fence.claimToken,
      chunkNumber,
      limit,
      leaseMs,
      recordAs,
      ...(statement === intendDeferredStatement ? [] : [dense]),
    ],
  });
  const answer = chunkOf(rows[0], chunkNumber);
  return answer === null ? null : { answer, wishes: rows[0]?.wishes === true };
}
