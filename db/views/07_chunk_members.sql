-- The ledger unpacked: one row per member of a chunk with what was recorded of it. What the views and functions of
-- deliveries are made of; a member whose outcome was recorded twice would come twice, and the invariants look for that.
--
-- The outcomes of one chunk are unpacked once, in a materialized CTE: left to itself, the planner may do it again for
-- each of the chunk's members. The order of the joins also lets a condition on the user number reach the members
-- before any outcome is unpacked.
drop view if exists carillon.chunk_members cascade;
create view carillon.chunk_members as
select
  c.due_day,
  c.bucket_id,
  c.group_number,
  c.chunk_number,
  c.epoch,
  c.node_id,
  c.attempt,
  c.intent_at,
  c.first_slot,
  c.first_user,
  c.last_slot,
  c.last_user,
  member.user_number,
  member.ordinal,
  member.refused,
  member.code,
  member.after_due_ms,
  member.outcome_epoch,
  member.outcome_part,
  member.recorded_at,
  (member.failure ->> 'http_status')::smallint as http_status,
  member.failure ->> 'reason' as detail
from carillon.chunks c
cross join lateral (
  with outcome as materialized (
    select
      recorded.index,
      get_byte(o.codes, recorded.place::integer - 1)::smallint as code,
      recorded.after_due_ms,
      o.epoch,
      o.part,
      o.recorded_at
    from carillon.outcomes o
    cross join lateral unnest(
      coalesce(o.indexes, array(
        select index::smallint
        from generate_series(0, cardinality(c.user_numbers) - 1) as index
        where c.refused is null or get_byte(c.refused, index) = 0
        order by index
      )),
      o.after_due_ms
    ) with ordinality as recorded (index, after_due_ms, place)
    where o.due_day = c.due_day
      and o.bucket_id = c.bucket_id
      and o.group_number = c.group_number
      and o.chunk_number = c.chunk_number
      and recorded.place <= length(o.codes)
  ),
  -- one object, because a join is planned for the one failure there usually is, and would crawl when all have failed
  failure as materialized (
    select jsonb_object_agg(f.user_number || '/' || f.ordinal || '/' || f.code, to_jsonb(f)) as by_member
    from carillon.failures f
    where f.due_day = c.due_day
      and f.bucket_id = c.bucket_id
      and f.group_number = c.group_number
      and f.chunk_number = c.chunk_number
  )
  select
    m.user_number,
    m.ordinal,
    m.refused <> 0 as refused,
    case when m.refused <> 0 then m.refused else outcome.code end as code,
    outcome.after_due_ms,
    outcome.epoch as outcome_epoch,
    outcome.part as outcome_part,
    case when m.refused <> 0 then carillon.real_time(c.intent_at) else outcome.recorded_at end as recorded_at,
    case
      when failure.by_member is not null and outcome.code <> 1
        then failure.by_member -> (m.user_number || '/' || m.ordinal || '/' || outcome.code)
    end as failure
  from (
    select
      user_number::bigint as user_number,
      coalesce(ordinal, 1::smallint) as ordinal,
      place::integer - 1 as index,
      case when c.refused is null then 0 else get_byte(c.refused, place::integer - 1) end::smallint as refused
    from unnest(c.user_numbers, c.ordinals) with ordinality as m (user_number, ordinal, place)
  ) m
  cross join failure
  left join outcome on outcome.index = m.index
) member;

comment on view carillon.chunk_members is
  'The ledger unpacked: one row per member of a chunk and outcome recorded of it. Ask it for a bucket, never for all.';
comment on column carillon.chunk_members.due_day is 'the day of the moment, UTC: the ledger''s partition';
comment on column carillon.chunk_members.bucket_id is 'the time bucket';
comment on column carillon.chunk_members.group_number is 'which group of the bucket';
comment on column carillon.chunk_members.chunk_number is 'which chunk of the group, in the order of their intents';
comment on column carillon.chunk_members.epoch is 'of the owner that wrote the intent';
comment on column carillon.chunk_members.node_id is 'the node that wrote the intent';
comment on column carillon.chunk_members.attempt is '0: the first try';
comment on column carillon.chunk_members.intent_at is 'the time at which the intent found that it may be sent, by carillon.clock()';
comment on column carillon.chunk_members.first_slot is 'the chunk''s first position: hash slot';
comment on column carillon.chunk_members.first_user is 'the chunk''s first position: user number';
comment on column carillon.chunk_members.last_slot is 'the chunk''s last position: hash slot';
comment on column carillon.chunk_members.last_user is 'the chunk''s last position: user number';
comment on column carillon.chunk_members.user_number is 'the user';
comment on column carillon.chunk_members.ordinal is 'which of the user''s endpoints; 0: there was none';
comment on column carillon.chunk_members.refused is 'whether it was settled at the intent, without being sent';
comment on column carillon.chunk_members.code is 'as in outcome_codes; null: nothing is recorded';
comment on column carillon.chunk_members.after_due_ms is 'milliseconds from the moment to the outcome';
comment on column carillon.chunk_members.outcome_epoch is 'of the owner that recorded the outcome';
comment on column carillon.chunk_members.outcome_part is 'which of that owner''s records of the chunk';
comment on column carillon.chunk_members.recorded_at is 'when its outcome was recorded';
comment on column carillon.chunk_members.http_status is 'the receiver''s answer, where it has one and it was not accepted';
comment on column carillon.chunk_members.detail is 'what exactly went wrong, where that is known';
