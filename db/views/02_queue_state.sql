-- How much work is there, in which state?
drop view if exists carillon.queue_state cascade;
create view carillon.queue_state as
select
  state.name as state,
  count(g.bucket_id) as groups,
  count(distinct g.bucket_id) as buckets,
  min(g.due_at) as first_due_at,
  max(g.late_ms) as latest_ms,
  state.meaning
from (values
  (1, 'waiting', 'not yet due, unclaimed'),
  (2, 'armed', 'claimed ahead of its moment'),
  (3, 'firing', 'claimed and due'),
  (4, 'held back', 'unclaimed on purpose until its next try'),
  (5, 'overdue', 'due, and nobody holds it'),
  (6, 'abandoned', 'its owner''s lease ran out'),
  (7, 'halted', 'paused')
) as state (rank, name, meaning)
left join carillon.open_groups g on g.state = state.name
group by state.rank, state.name, state.meaning
order by state.rank;

comment on view carillon.queue_state is 'Unfinished groups by state: one row for every state, also for an empty one.';
comment on column carillon.queue_state.state is 'as in open_groups';
comment on column carillon.queue_state.groups is 'how many groups are in it';
comment on column carillon.queue_state.buckets is 'of how many time buckets';
comment on column carillon.queue_state.first_due_at is 'the earliest of their moments';
comment on column carillon.queue_state.latest_ms is 'how late the latest of them is, in milliseconds; negative: still ahead';
comment on column carillon.queue_state.meaning is 'the state in words';
