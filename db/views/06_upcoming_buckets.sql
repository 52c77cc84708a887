-- What is due next, and for how many?

-- Exact for small schedules; else from a sixty-fourth of the hash slots, which are evenly spread. Costly, so that the
-- planner asks only for the rows that a limit leaves.
create or replace function carillon.estimate_population(schedule bigint) returns integer
language sql stable strict parallel safe cost 100000
as $$
  select case
    when few.number <= 2000 then few.number
    else 64 * (
      select count(*)::integer
      from carillon.subscriptions s
      where s.schedule_id = schedule and s.ended_at is null and s.hash_slot < 1024
    )
  end
  from (
    select count(*)::integer as number
    from (
      select from carillon.subscriptions s where s.schedule_id = schedule and s.ended_at is null limit 2001
    ) at_most
  ) few
$$;
comment on function carillon.estimate_population(bigint) is
  'How many subscriptions a schedule has: exact up to 2,000, beyond that estimated from a sample of hash slots.';

drop view if exists carillon.upcoming_buckets cascade;
create view carillon.upcoming_buckets as
select
  u.due_at,
  round(extract(epoch from u.due_at - u.clock))::bigint as due_in_s,
  t.name as topic,
  p.name as place,
  s.rule,
  case when t.paused_at is not null or s.paused_at is not null then 'paused' else u.state end as state,
  coalesce(u.population, carillon.estimate_population(u.schedule_id)) as population,
  u.bucket_id,
  u.schedule_id,
  u.occurrence,
  u.round
from (
  select
    b.due_at,
    now.clock,
    case when b.cancelled_at is not null then 'cancelled' when b.cut_at is not null then 'cut' else 'planned' end as state,
    b.population,
    b.bucket_id,
    b.schedule_id,
    b.occurrence,
    b.round
  from (select carillon.clock() as clock) now
  join carillon.time_buckets b on b.due_at > now.clock and b.closed_at is null
  union all
  select s.next_due_at, now.clock, 'not planned', null, null, s.schedule_id, null, 0::smallint
  from (select carillon.clock() as clock) now
  join carillon.schedules s on s.next_due_at > now.clock
) u
join carillon.schedules s using (schedule_id)
join carillon.topics t using (topic_id)
left join carillon.places p using (place_id);

comment on view carillon.upcoming_buckets is
  'Moments ahead: the time buckets that are planned, and of each schedule the next one that is not planned yet.';
comment on column carillon.upcoming_buckets.due_at is 'the moment';
comment on column carillon.upcoming_buckets.due_in_s is 'seconds until then';
comment on column carillon.upcoming_buckets.topic is 'name of the topic';
comment on column carillon.upcoming_buckets.place is 'name of the place, where the rule has one';
comment on column carillon.upcoming_buckets.rule is 'the schedule''s rule';
comment on column carillon.upcoming_buckets.state is 'not planned, planned, cut (into groups), paused, cancelled';
comment on column carillon.upcoming_buckets.population is
  'subscriptions: as estimated when it was cut, else estimated now (exact up to 2,000)';
comment on column carillon.upcoming_buckets.bucket_id is 'the time bucket; null: not planned yet';
comment on column carillon.upcoming_buckets.schedule_id is 'the schedule that it is a moment of';
comment on column carillon.upcoming_buckets.occurrence is 'the rule''s own key of this moment';
comment on column carillon.upcoming_buckets.round is '0: the moment itself; more: what failed, again';
