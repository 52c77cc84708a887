import { outcomeCodes, standbyReason } from "../reminder/outcome-code.ts";

/*
 * Topics that are content with the first endpoint that accepts (`reach` is `first`). What each statement writes of it, in
 * that statement: see ARCHITECTURE.md, "The first that accepts". The topic is asked at the intent alone; from there on it
 * is the rows of `deferred` with a `standby` that tell, so changing the topic changes nothing that is under way.
 */

/** What the gate lets pass, now or at the end of quiet hours: only such an endpoint can keep others waiting. */
const passes = (code: string) => `${code} in (0, ${outcomeCodes.heldByQuietHours})`;

/**
 * Who stands by, for whom, and as which: a CTE. None where the topic reaches all.
 *
 * @param asked a CTE of whole users: hash_slot, user_number, ordinal, channel, and gate_code, what the gate says of each
 */
export const standingBy = (asked: string) => `
  standing_by as materialized (
    select w.*
    from (
      select a.hash_slot, a.user_number, a.ordinal, (row_number() over in_turn - 1)::smallint as standby,
        first_value(a.channel) over in_turn as waits_for
      from ${asked} a
      cross join held h
      where (select reach from held) = 'first' and ${passes("a.gate_code")}
      window in_turn as (
        partition by a.user_number order by array_position(h.channel_order, a.channel), a.ordinal)
    ) w
    where w.standby > 0
  )`;

/** The code of a member of `asked`. */
export const codeInTurn = (member: string) => `
  case
    when (${member}.user_number, ${member}.ordinal) in (select user_number, ordinal from standing_by)
      then ${outcomeCodes.standsBy}
    else ${member}.gate_code
  end`;

/** Rows for `deferred` of those in a roll `r` who stand by, of the group `f`. */
export const standbyRows = `
    select f.bucket_id, f.group_number, w.hash_slot, w.user_number, w.ordinal, 1::smallint as attempt,
      carillon.real_time(h.expires_at) as next_try_at, w.standby, '${standbyReason}' as reason
    from fence f
    cross join held h
    cross join roll r
    -- whole users in firing order, so these are the members of the roll
    join standing_by w on (w.hash_slot, w.user_number) <= (r.last_slot, r.user_numbers[r.members]::bigint)`;

/** SQL: whether anybody of a group stands by. */
export const anyStandby = (bucketId: string, groupNumber: string) => `exists (
      select from carillon.deferred d
      where d.bucket_id = ${bucketId} and d.group_number = ${groupNumber} and d.standby is not null)`;

/**
 * What an endpoint that came to its end means for those of its user that stand by: an update of `deferred` as `d`. Where it
 * was reached, or may have been, at this try or an earlier one, none of them is needed; else the next one's turn has come.
 *
 * @param ended SQL from what is written anyway: rows `x` (bucket_id, group_number, user_number, reached)
 */
export const turnOfOthers = (ended: string) => `
      update carillon.deferred d
      set standby = case when x.reached then 0 end::smallint, next_try_at = clock_timestamp()
      from (
        select x.bucket_id, x.group_number, x.user_number, x.reached or exists (
            select from carillon.deferred o
            where o.bucket_id = x.bucket_id and o.group_number = x.group_number and o.hash_slot = u.hash_slot
              and o.user_number = x.user_number and o.in_doubt) as reached, u.turn
        from (${ended}) x
        -- by the index of those who stand by; what they are asked of has their own hash slot, also if it was erased since
        cross join lateral (
          select s.hash_slot, s.standby as turn from carillon.deferred s
          where s.bucket_id = x.bucket_id and s.group_number = x.group_number and s.user_number = x.user_number
            and s.standby > 0
          order by s.standby
          limit 1
        ) u
        offset 0
      ) x
      where d.bucket_id = x.bucket_id and d.group_number = x.group_number and d.user_number = x.user_number
        and d.standby > 0 and (x.reached or d.standby = x.turn)`;
