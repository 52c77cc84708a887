-- Who works on what is not finished, and in which state is it?
--
-- Leases stay on real Postgres time, due instants on carillon.clock(). The statement's own start is taken for the
-- first: it is what the rows were read at, and it spares a call of the clock for each row.
drop view if exists carillon.open_groups cascade;
create view carillon.open_groups as
select
  g.bucket_id,
  g.group_number,
  t.name as topic,
  b.schedule_id,
  b.due_at,
  b.expires_at,
  case
    when g.lease_until < statement_timestamp() then 'abandoned'
    when g.lease_until is not null and b.due_at > now.clock then 'armed'
    when g.lease_until is not null then 'firing'
    -- what is cancelled or expired is still to be recorded as such, and therefore waits for a worker like any other
    when g.halted_at is not null and b.cancelled_at is null and b.expires_at > now.clock then 'halted'
    when g.epoch > 0 and g.not_before > statement_timestamp() then 'held back'
    when b.due_at > now.clock then 'waiting'
    when g.not_before > statement_timestamp() then 'held back'
    else 'overdue'
  end as state,
  g.node_id,
  n.name as node,
  g.epoch,
  g.lease_until,
  g.not_before,
  g.halted_at,
  g.started_at,
  g.takeovers,
  g.rescues,
  g.intended,
  g.delivered,
  g.failed,
  g.in_doubts,
  round(extract(epoch from now.clock - b.due_at) * 1000)::bigint as late_ms,
  g.last_fault
from (select carillon.clock() as clock) now
cross join carillon.groups g
join carillon.time_buckets b using (bucket_id)
join carillon.topics t using (topic_id)
left join carillon.nodes n using (node_id)
where g.finished_at is null;

comment on view carillon.open_groups is
  'One row per group that is not finished: its state, who holds it and until when, and how far it is.';
comment on column carillon.open_groups.bucket_id is 'the time bucket';
comment on column carillon.open_groups.group_number is 'which group of the bucket, from 0';
comment on column carillon.open_groups.topic is 'name of the topic';
comment on column carillon.open_groups.schedule_id is 'the schedule that the bucket is a moment of';
comment on column carillon.open_groups.due_at is 'the moment';
comment on column carillon.open_groups.expires_at is 'nothing is sent after it';
comment on column carillon.open_groups.state is
  'waiting (not yet due, unclaimed), armed (claimed, waits for the moment), firing (claimed and due), held back '
  '(unclaimed until not_before: a retry or a back-off), overdue (due, and nobody holds it), abandoned (its owner''s '
  'lease ran out), halted (paused)';
comment on column carillon.open_groups.node_id is 'the node that holds it, or held it last';
comment on column carillon.open_groups.node is 'that node''s name';
comment on column carillon.open_groups.epoch is 'how often it was claimed';
comment on column carillon.open_groups.lease_until is 'the owner''s lease; null: unclaimed';
comment on column carillon.open_groups.not_before is 'nobody claims it before';
comment on column carillon.open_groups.halted_at is 'since when it is halted';
comment on column carillon.open_groups.started_at is 'its start mark';
comment on column carillon.open_groups.takeovers is 'claims since its mark moved last';
comment on column carillon.open_groups.rescues is 'how often the sweep had to wake it';
comment on column carillon.open_groups.intended is 'deliveries that have their intent';
comment on column carillon.open_groups.delivered is 'deliveries accepted by a receiver';
comment on column carillon.open_groups.failed is 'deliveries given up';
comment on column carillon.open_groups.in_doubts is 'sends of which nobody knows whether they arrived, so far';
comment on column carillon.open_groups.late_ms is 'milliseconds since the moment; negative: still ahead';
comment on column carillon.open_groups.last_fault is 'what went wrong with it last';
