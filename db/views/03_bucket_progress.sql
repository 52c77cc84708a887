-- How far is a moment, and what became of it so far?
drop view if exists carillon.bucket_progress cascade;
create view carillon.bucket_progress as
select
  b.bucket_id,
  t.name as topic,
  b.schedule_id,
  b.occurrence,
  b.round,
  b.due_at,
  b.expires_at,
  case
    when b.closed_at is not null then b.closed_as
    when b.cancelled_at is not null then 'cancelled'
    when b.due_at <= now.clock and b.cut_at is null then 'overdue'
    when b.due_at <= now.clock then 'under way'
    when b.cut_at is not null then 'cut'
    else 'planned'
  end as state,
  b.population,
  g.groups,
  g.groups_finished,
  g.intended,
  g.delivered,
  g.failed,
  g.suppressed,
  g.expired,
  g.cancelled,
  g.in_doubts,
  g.rescues,
  b.closed_at,
  -- when the outcome was recorded, not its own milliseconds: so an index scan over a few hundred rows answers, where
  -- every member would have to be unpacked (bucket_lateness does that). A scalar, so that who doesn't ask doesn't pay.
  (
    select round(extract(epoch from max(o.recorded_at) - carillon.real_time(b.due_at)) * 1000 * carillon.clock_speed())::bigint
    from carillon.outcomes o
    where o.bucket_id = b.bucket_id and o.due_day = b.due_day
  ) as lateness_ms
from (select carillon.clock() as clock) now
cross join carillon.time_buckets b
join carillon.topics t using (topic_id)
cross join lateral (
  select
    count(*)::integer as groups,
    count(finished_at)::integer as groups_finished,
    coalesce(sum(intended), 0)::integer as intended,
    coalesce(sum(delivered), 0)::integer as delivered,
    coalesce(sum(failed), 0)::integer as failed,
    coalesce(sum(suppressed), 0)::integer as suppressed,
    coalesce(sum(expired), 0)::integer as expired,
    coalesce(sum(cancelled), 0)::integer as cancelled,
    coalesce(sum(in_doubts), 0)::integer as in_doubts,
    coalesce(sum(rescues), 0)::integer as rescues
  from carillon.groups g
  where g.bucket_id = b.bucket_id
) g;

comment on view carillon.bucket_progress is 'One row per time bucket: how far it is, and the states of its deliveries.';
comment on column carillon.bucket_progress.bucket_id is 'the time bucket';
comment on column carillon.bucket_progress.topic is 'name of the topic';
comment on column carillon.bucket_progress.schedule_id is 'the schedule that it is a moment of';
comment on column carillon.bucket_progress.occurrence is 'the rule''s own key of this moment';
comment on column carillon.bucket_progress.round is '0: the moment itself; more: what failed, again';
comment on column carillon.bucket_progress.due_at is 'the moment';
comment on column carillon.bucket_progress.expires_at is 'nothing is sent after it';
comment on column carillon.bucket_progress.state is
  'planned, cut (into groups), under way, overdue (due, but not cut into groups), done, cancelled, skipped';
comment on column carillon.bucket_progress.population is 'subscriptions, estimated when it was cut';
comment on column carillon.bucket_progress.groups is 'groups that it was cut into';
comment on column carillon.bucket_progress.groups_finished is 'groups with their end mark';
comment on column carillon.bucket_progress.intended is 'deliveries that have their intent';
comment on column carillon.bucket_progress.delivered is 'deliveries accepted by a receiver';
comment on column carillon.bucket_progress.failed is 'deliveries given up';
comment on column carillon.bucket_progress.suppressed is 'deliveries that the gate refused';
comment on column carillon.bucket_progress.expired is 'deliveries that would have come too late';
comment on column carillon.bucket_progress.cancelled is 'deliveries cancelled';
comment on column carillon.bucket_progress.in_doubts is 'sends of which nobody knows whether they arrived';
comment on column carillon.bucket_progress.rescues is 'how often the sweep had to wake one of its groups';
comment on column carillon.bucket_progress.closed_at is 'when the last of its groups was settled';
comment on column carillon.bucket_progress.lateness_ms is
  'milliseconds from the moment until its last outcome so far was recorded (bucket_lateness has percentiles)';
