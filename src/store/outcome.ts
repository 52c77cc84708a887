import type { Fence } from "./claim.ts";
import { byKey, type Executor, type Statement } from "./executor.ts";
import { turnOfOthers } from "./reach.ts";

/** What is to be recorded of some members of a chunk, in one statement. */
export interface OutcomeRecord {
  readonly fence: Fence;
  readonly dueDay: string;
  readonly chunkNumber: number;
  /** numbers the records of one chunk under one epoch */
  readonly part: number;
  /** the members' indexes in the chunk; null: all that were to be sent, in order */
  readonly indexes: readonly number[] | null;
  readonly codes: Uint8Array;
  /** milliseconds of carillon.clock() after the due instant, one a member */
  readonly afterDueMs: readonly number[];
  readonly tally: {
    readonly delivered: number;
    readonly failed: number;
    readonly suppressed: number;
    readonly expired: number;
    readonly inDoubts: number;
  };
  readonly leaseMs: number;
  /** null where every member was simply accepted at its first try */
  readonly exceptions: OutcomeExceptions | null;
}

export interface OutcomeExceptions {
  readonly failures: readonly {
    readonly userNumber: string;
    readonly ordinal: number;
    readonly code: number;
    readonly httpStatus: number | null;
    readonly reason: string;
  }[];
  /** to be tried again */
  readonly deferred: readonly {
    /** null: the user's own */
    readonly hashSlot: number | null;
    readonly userNumber: string;
    readonly ordinal: number;
    readonly attempt: number;
    readonly waitMs: number;
    readonly inDoubt: boolean;
    /** an owner was lost with it; from the fifth such time on it is parked */
    readonly takenOver: boolean;
    readonly reason: string;
  }[];
  /** final now, so no longer deferred */
  readonly finished: readonly {
    readonly hashSlot: number | null;
    readonly userNumber: string;
    readonly ordinal: number;
  }[];
  /** endpoints that are no more */
  readonly gone: readonly {
    readonly userNumber: string;
    readonly ordinal: number;
    readonly reason: string;
    /** epoch milliseconds of real time: when the far side found it dead; null: at the reply */
    readonly sinceMs: number | null;
  }[];
  /** users one of whose endpoints came to its end while others may stand by for it; each once */
  readonly ended: readonly {
    readonly userNumber: string;
    /** or perhaps: then none of the others is needed. Else the next one's turn has come */
    readonly reached: boolean;
  }[];
}

/** Takeovers with the same delivery in doubt after which it is no longer sent by itself. */
export const parkAfterTakeovers = 5;
/** Endpoints that one event tells of at most. */
export const goneAtOnce = 500;

/*
 * Outcomes. Everything hangs on the fence: an UPDATE of the group's row under epoch and token, which also renews the
 * lease. A claim of the group and this statement lock the same row, so either the new owner sees these outcomes, or they
 * are refused and the new owner has counted them as in doubt; never both.
 *
 * The reply is lost: `outcomeStands` is asked before anything is repeated, and the key keeps a repeat from standing twice.
 *
 * What stands by for these (reach.ts) hangs on the same fence: its turn comes, or it is not needed, if and only if these
 * outcomes stand. Nobody else writes about it meanwhile: it is in no chunk, and one endpoint of a user is tried at a time.
 *
 * Gone, against an endpoint that is registered again while its reply is on the way: what the provider said was about the
 * registration that was sent to, so only one that was there when the intent was written is pruned; also where its ordinal
 * was given to another address since. Where the provider says since when (APNs), only one that was there then: its
 * verdict may be older than a registration by which the token is alive again.
 * - the registration is committed before this statement began: registered_at lies behind the intent. It stays.
 * - it is under way: this waits for its row, and Postgres asks the condition again of the row as it is then. It stays.
 * - it begins after this: the endpoint comes back, as any that was gone.
 * - it had looked before this, and waits for the row: it renews the row whatever it saw (`registering` in endpoints.ts).
 *
 * Listeners (events.ts) are told here of what is pruned and parked, and so exactly when it is. Where nobody listens, no
 * row is written.
 */
const fence = `
  fence as (
    update carillon.groups g
    set delivered = g.delivered + $11,
        failed = g.failed + $12,
        suppressed = g.suppressed + $13,
        expired = g.expired + $14,
        in_doubts = g.in_doubts + $15,
        lease_until = clock_timestamp() + $16::int * interval '1 millisecond'
    where g.bucket_id = $1 and g.group_number = $2 and g.epoch = $3 and g.claim_token = $4
    returning g.bucket_id
  ), recorded as (
    insert into carillon.outcomes (due_day, bucket_id, group_number, chunk_number, epoch, part, recorded_at,
      indexes, codes, after_due_ms)
    select $5::date, $1, $2, $6::int, $3, $7::int, clock_timestamp(), $8::smallint[], $9::bytea, $10::int[]
    from fence
    on conflict do nothing
    returning bucket_id
  )`;

const recordStatement: Statement = {
  name: "record_outcomes",
  text: `with ${fence} select (select count(*) from fence)::int as held from (select count(*) from recorded) r`,
};

const recordExceptions = (standby: boolean): Statement => ({
  name: standby ? "record_outcomes_others_stand_by_for" : "record_outcomes_and_exceptions",
  text: `
    with ${fence}, failures as (
      insert into carillon.failures (due_day, bucket_id, group_number, chunk_number, user_number, ordinal, code,
        http_status, reason)
      select $5::date, $1, $2, $6::int, f.user_number, f.ordinal, f.code, f.http_status, f.reason
      from recorded r, unnest($17::bigint[], $18::smallint[], $19::smallint[], $20::smallint[], $21::text[])
        as f (user_number, ordinal, code, http_status, reason)
    ), deferred as (
      insert into carillon.deferred as d (bucket_id, group_number, hash_slot, user_number, ordinal, attempt, next_try_at,
        in_doubt, takeovers, reason)
      select $1, $2, coalesce(n.hash_slot, u.hash_slot, 0), n.user_number, n.ordinal, n.attempt,
        clock_timestamp() + n.wait_ms * interval '1 millisecond', n.in_doubt, n.taken_over::int, n.reason
      from recorded r, unnest($22::int[], $23::bigint[], $24::smallint[], $25::smallint[], $26::int[], $27::boolean[],
        $28::boolean[], $29::text[])
        as n (hash_slot, user_number, ordinal, attempt, wait_ms, in_doubt, taken_over, reason)
      left join carillon.users u on u.user_number = n.user_number
      on conflict (bucket_id, group_number, hash_slot, user_number, ordinal) do update
      set attempt = excluded.attempt,
          next_try_at = excluded.next_try_at,
          in_doubt = d.in_doubt or excluded.in_doubt,
          takeovers = d.takeovers + excluded.takeovers,
          parked_at = case when d.takeovers + excluded.takeovers >= ${parkAfterTakeovers} then clock_timestamp() end,
          intent_chunk = null,
          reason = excluded.reason
      returning d.parked_at, d.reason
    ), told_of_parked as (
      insert into carillon.events (destination_id, kind, about)
      select l.destination_id, 'chunk.parked', jsonb_build_object('bucketId', $1, 'group', $2, 'chunk', $6::int,
        'deliveries', count(*), 'reason', min(d.reason))
      from deferred d, carillon.event_listeners l
      where d.parked_at is not null and 'chunk.parked' = any (l.kinds)
      group by l.destination_id
    ), finished as (
      -- looked up one by one: joined, each row of the group was held against each of these, 130 ms a chunk instead of 3
      -- with 13,000 rows
      delete from carillon.deferred d
      using (
        select coalesce(x.hash_slot, u.hash_slot, 0) as hash_slot, x.user_number, x.ordinal
        from recorded r, unnest($30::int[], $31::bigint[], $32::smallint[]) as x (hash_slot, user_number, ordinal)
        left join carillon.users u on u.user_number = x.user_number
        offset 0
      ) f
      where d.bucket_id = $1 and d.group_number = $2 and ${byKey("d.hash_slot", "f.hash_slot")}
        and ${byKey("d.user_number", "f.user_number")} and ${byKey("d.ordinal", "f.ordinal")}
    ), gone as (
      update carillon.endpoints e
      set gone_at = clock_timestamp(), gone_reason = x.reason
      from recorded r, unnest($33::bigint[], $34::smallint[], $35::text[], $36::float8[])
        as x (user_number, ordinal, reason, since_ms)
      join carillon.users u on u.user_number = x.user_number
      where e.hash_slot = u.hash_slot and e.user_number = x.user_number and e.ordinal = x.ordinal and e.gone_at is null
        -- of real time is the one, of carillon.clock() the other
        and e.registered_at <= (
          select carillon.real_time(c.intent_at) from carillon.chunks c
          where c.due_day = $5::date and c.bucket_id = $1 and c.group_number = $2 and c.chunk_number = $6::int)
        and (x.since_ms is null or e.registered_at <= to_timestamp(x.since_ms / 1000))
      returning e.user_number, e.ordinal, e.channel, e.destination_id, e.gone_reason
    ), told_of_gone as (
      insert into carillon.events (destination_id, kind, about)
      select l.destination_id, 'endpoint.gone', jsonb_build_object('endpoints', jsonb_agg(jsonb_build_object(
        'userNumber', g.user_number, 'ordinal', g.ordinal, 'channel', g.channel, 'destinationId', g.destination_id,
        'reason', g.gone_reason)))
      from (select *, (row_number() over () - 1) / ${goneAtOnce} as bundle from gone) g, carillon.event_listeners l
      where 'endpoint.gone' = any (l.kinds)
      group by l.destination_id, g.bundle
    )${
      standby
        ? `, turn_of_others as (${turnOfOthers(`
          select r.bucket_id, $2::int as group_number, x.user_number, x.reached
          from recorded r, unnest($37::bigint[], $38::boolean[]) as x (user_number, reached)`)}
    )`
        : ""
    }
    select (select count(*) from fence)::int as held from (select count(*) from recorded) r`,
});
const recordExceptionsStatement = recordExceptions(false);
const recordWhileOthersStandBy = recordExceptions(true);

/** @returns false if the fence refused: another claim has the group, and has counted these as in doubt */
export async function recordOutcomes(executor: Executor, record: OutcomeRecord): Promise<boolean> {
  const { fence, tally, exceptions } = record;
  const values: unknown[] = [
    fence.bucketId,
    fence.groupNumber,
    fence.epoch,
    fence.claimToken,
    record.dueDay,
    record.chunkNumber,
    record.part,
    record.indexes === null ? null : `{${record.indexes.join(",")}}`,
    Buffer.from(record.codes.buffer, record.codes.byteOffset, record.codes.byteLength),
    `{${record.afterDueMs.join(",")}}`,
    tally.delivered,
    tally.failed,
    tally.suppressed,
    tally.expired,
    tally.inDoubts,
    record.leaseMs,
  ];
  if (exceptions !== null) {
    const { failures, deferred, finished, gone, ended } = exceptions;
    values.push(
      failures.map((row) => row.userNumber),
      failures.map((row) => row.ordinal),
      failures.map((row) => row.code),
      failures.map((row) => row.httpStatus),
      failures.map((row) => row.reason),
      deferred.map((row) => row.hashSlot),
      deferred.map((row) => row.userNumber),
      deferred.map((row) => row.ordinal),
      deferred.map((row) => row.attempt),
      deferred.map((row) => Math.round(row.waitMs)),
      deferred.map((row) => row.inDoubt),
      deferred.map((row) => row.takenOver),
      deferred.map((row) => row.reason),
      finished.map((row) => row.hashSlot),
      finished.map((row) => row.userNumber),
      finished.map((row) => row.ordinal),
      gone.map((row) => row.userNumber),
      gone.map((row) => row.ordinal),
      gone.map((row) => row.reason),
      gone.map((row) => row.sinceMs),
    );
    if (ended.length > 0)
      values.push(
        ended.map((row) => row.userNumber),
        ended.map((row) => row.reached),
      );
  }
  const { rows } = await executor.query<{ held: number }>({ ...statementFor(exceptions), values });
  return rows[0]?.held === 1;
}

function statementFor(exceptions: OutcomeExceptions | null): Statement {
  if (exceptions === null) return recordStatement;
  return exceptions.ended.length > 0 ? recordWhileOthersStandBy : recordExceptionsStatement;
}

/** For a record whose reply was lost: whether it stands. */
export async function outcomeStands(
  executor: Executor,
  record: Pick<OutcomeRecord, "fence" | "dueDay" | "chunkNumber" | "part">,
): Promise<boolean> {
  const { rowCount } = await executor.query({
    name: "outcome_stands",
    text: `
      select from carillon.outcomes
      where bucket_id = $1 and group_number = $2 and chunk_number = $3 and epoch = $4 and part = $5 and due_day = $6`,
    values: [
      record.fence.bucketId,
      record.fence.groupNumber,
      record.chunkNumber,
      record.fence.epoch,
      record.part,
      record.dueDay,
    ],
  });
  return rowCount === 1;
}

/** A delivery with an intent and no outcome, left by an owner that is gone. */
export interface UnresolvedMember {
  readonly chunkNumber: number;
  readonly attempt: number;
  readonly index: number;
  readonly hashSlot: number | null;
  readonly userNumber: string;
  readonly ordinal: number;
}

/**
 * What the last owner left in doubt: recorded members without outcome, never a re-read of the range. To be asked right
 * after a claim, when no earlier owner can record anything any more.
 */
export async function unresolvedMembers(
  executor: Executor,
  fence: Fence,
  dueDay: string,
): Promise<readonly UnresolvedMember[]> {
  const { rows } = await executor.query<{
    chunk_number: number;
    attempt: number;
    index: number;
    hash_slot: number | null;
    user_number: string;
    ordinal: number;
  }>({
    name: "unresolved_members",
    text: `
      with settled as (
        select o.chunk_number, sum(length(o.codes)) as members, bool_or(o.indexes is null) as wholly
        from carillon.outcomes o
        where o.bucket_id = $1 and o.group_number = $2 and o.due_day = $3
        group by o.chunk_number
      )
      select c.chunk_number, c.attempt, (m.position - 1)::int as index, u.hash_slot, m.user_number::bigint, coalesce(m.ordinal, 1::smallint) as ordinal
      from carillon.chunks c
      left join settled s on s.chunk_number = c.chunk_number
      cross join lateral unnest(c.user_numbers, c.ordinals) with ordinality as m (user_number, ordinal, position)
      left join carillon.users u on u.user_number = m.user_number
      where c.bucket_id = $1 and c.group_number = $2 and c.due_day = $3
        and s.wholly is not true
        and coalesce(s.members, 0) < cardinality(c.user_numbers)
        and coalesce(get_byte(c.refused, m.position::int - 1), 0) = 0
        and not exists (
          select from carillon.outcomes o
          where o.bucket_id = $1 and o.group_number = $2 and o.chunk_number = c.chunk_number and o.due_day = $3
            and (m.position - 1)::smallint = any (o.indexes))
      order by c.chunk_number, m.position`,
    values: [fence.bucketId, fence.groupNumber, dueDay],
  });
  return rows.map((row) => ({
    chunkNumber: row.chunk_number,
    attempt: row.attempt,
    index: row.index,
    hashSlot: row.hash_slot,
    userNumber: row.user_number,
    ordinal: row.ordinal,
  }));
}
