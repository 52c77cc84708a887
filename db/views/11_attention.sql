-- What needs a hand, why, and what is to be done?
--
-- Each line must be worth waking somebody for: the engine heals most faults by itself within seconds, so every
-- threshold is well beyond the time that it takes for that.
drop view if exists carillon.attention cascade;
create view carillon.attention as
with now as materialized (
  -- all of it is asked on real time, which lives on under a development clock too
  select statement_timestamp() as real
),
open_group as materialized (
  select * from carillon.open_groups
)
select
  'abandoned lease' as kind,
  'bucket ' || bucket_id || ', groups: ' || count(*) || ', of node ' || coalesce(node, '?') || ' (' || coalesce(node_id::text, '?') || ')'
    as subject,
  'the owner let its lease run out and no worker has taken over' as why,
  'look whether any worker is live (node_load) and has a free slot; start one more: it takes over by itself' as what_to_do,
  min(lease_until) as since,
  bucket_id,
  node_id
from open_group, now
where state = 'abandoned' and lease_until < now.real - interval '10 seconds'
group by bucket_id, node_id, node
union all
select
  'overdue groups',
  'bucket ' || bucket_id || ' (' || topic || '), groups: ' || count(*),
  'due, free to be claimed, and no worker does',
  'look whether workers are live and what they are busy with (node_load); start more workers',
  min(greatest(carillon.real_time(due_at), not_before)),
  bucket_id,
  null
from open_group, now
where state = 'overdue' and greatest(carillon.real_time(due_at), not_before) < now.real - interval '10 seconds'
group by bucket_id, topic
union all
select
  'parked deliveries',
  'bucket ' || d.bucket_id || ', group ' || d.group_number || ', deliveries: ' || count(*),
  'their owner was lost again and again while they were being sent: ' || min(d.reason),
  'look at the workers'' logs for what ends them; left alone, these deliveries get their final state at ' || min(b.expires_at),
  min(d.parked_at),
  d.bucket_id,
  null
from carillon.deferred d
join carillon.time_buckets b using (bucket_id)
where d.parked_at is not null
group by d.bucket_id, d.group_number
union all
select
  'group without progress',
  'bucket ' || bucket_id || ', group ' || group_number,
  takeovers || ' claims without one more chunk' || coalesce(': ' || last_fault, ''),
  'look at the logs of node ' || coalesce(node, '?') || ' for this group; what it can''t do expires at ' || expires_at,
  started_at,
  bucket_id,
  node_id
from open_group
where takeovers >= 5
union all
select
  'destination disabled',
  name,
  coalesce(disabled_reason, 'no reason was given'),
  'set right what its receiver refuses (often a rotated secret), then enable it again; until then its reminders are suppressed',
  disabled_at,
  null,
  null
from carillon.destinations
where disabled_at is not null
union all
select
  'destination refuses',
  name,
  stopped_reason,
  'set right its credential (a rotated secret, a revoked key); its reminders wait and are tried every half a minute, until they expire',
  stopped_at,
  null,
  null
from carillon.destinations
where stopped_at is not null and disabled_at is null
union all
select
  'events not taken',
  d.name || ', events: ' || count(*),
  coalesce((array_agg(e.fault order by e.at) filter (where e.fault is not null))[1], 'none of them could be sent'),
  'set right what its receiver answers (any 2xx is taken for a yes), or have it told nothing (DELETE /v1/event-listeners); '
    || 'what it does not take for 3 days is dropped',
  min(e.at),
  null,
  null
from carillon.events e
join carillon.event_listeners using (destination_id)
join carillon.destinations d using (destination_id)
cross join now
where e.at < now.real - interval '1 hour'
group by d.destination_id
union all
select
  'planner stands',
  'schedules: ' || count(*),
  'their next moment has no time bucket though it is past',
  'look whether a worker is live (node_load), and at its log for the task that plans; it catches up by itself',
  min(carillon.real_time(s.next_due_at)),
  null,
  null
from carillon.schedules s
cross join now
where carillon.real_time(s.next_due_at) < now.real - interval '30 seconds'
having count(*) > 0
union all
select
  'bucket without groups',
  'bucket ' || b.bucket_id || ' (' || t.name || ')',
  'due, but not cut into groups',
  'look whether a worker is live (node_load); its sweep cuts it within seconds',
  carillon.real_time(b.due_at),
  b.bucket_id,
  null
from carillon.time_buckets b
join carillon.topics t using (topic_id)
cross join now
where b.closed_at is null and b.cancelled_at is null
  and carillon.real_time(b.due_at) < now.real - interval '5 seconds'
  and not exists (select from carillon.groups g where g.bucket_id = b.bucket_id)
union all
select
  'dead node holds groups',
  n.name || ' (' || n.node_id || ')',
  'no heartbeat for ' || round(extract(epoch from now.real - n.heartbeat_at)) || ' s; groups that it holds: ' || count(*),
  'end the process if it hangs; its groups are taken over when their leases run out',
  n.heartbeat_at,
  null,
  n.node_id
from carillon.nodes n
join open_group g on g.node_id = n.node_id and g.lease_until is not null
cross join now
where n.heartbeat_at < now.real - interval '10 seconds' or n.stopped_at is not null
group by n.node_id, now.real
union all
select
  'clock skew',
  n.name || ' (' || n.node_id || ')',
  'its clock is ' || round(n.clock_skew_ms) || ' ms off Postgres''',
  'set that machine''s time right (NTP); reminders are not affected, but its log lines lie',
  n.started_at,
  null,
  n.node_id
from carillon.nodes n
cross join now
where n.stopped_at is null and n.heartbeat_at > now.real - interval '1 hour' and abs(n.clock_skew_ms) > 500
union all
select
  'older zone data',
  n.name || ' (' || n.node_id || ')',
  'it plans with zone data ' || n.tzdata || ', and ' || d.tzdata || ' has been used here: where rules have changed since, it plans the old times',
  'run it with the Node version of the others; they plan again what it has planned',
  n.started_at,
  null,
  n.node_id
from carillon.nodes n
join carillon.deployment d on d.tzdata > n.tzdata
cross join now
where n.stopped_at is null and n.heartbeat_at > now.real - interval '10 seconds'
union all
select
  'schedules not planned',
  'schedules: ' || count(*) || ', of topics: ' || string_agg(distinct t.name, ', ' order by t.name),
  s.plan_fault,
  'set right what it says (a timetable''s parameters that can''t be read, a zone that is unknown); it is tried again each minute',
  null,
  null,
  null
from carillon.schedules s
join carillon.topics t using (topic_id)
where s.plan_fault is not null
group by s.plan_fault
union all
select
  'ledger partition missing',
  day.due_day::text || ', buckets: ' || day.buckets,
  'moments are planned on a day that the ledger has no partition for: nothing can be sent then',
  format('select carillon.make_ledger_day(%L);', day.due_day),
  day.planned_at,
  null,
  null
from (
  select due_day, count(*) as buckets, min(planned_at) as planned_at
  from carillon.time_buckets
  where closed_at is null
  group by due_day
) day
where exists (
  select
  from unnest(array['chunks', 'outcomes', 'failures']) as part
  where to_regclass('carillon.' || part || to_char(day.due_day, '_YYYYMMDD')) is null
);

comment on view carillon.attention is
  'What needs a hand, why, and what to do. Empty when all is well.';
comment on column carillon.attention.kind is
  'abandoned lease, overdue groups, parked deliveries, group without progress, destination disabled, '
  'destination refuses, events not taken, planner stands, '
  'bucket without groups, dead node holds groups, clock skew, older zone data, schedules not planned, '
  'ledger partition missing';
comment on column carillon.attention.subject is 'what it is about';
comment on column carillon.attention.why is 'what is wrong with it';
comment on column carillon.attention.what_to_do is 'what an operator can do about it';
comment on column carillon.attention.since is 'since when, on real time';
comment on column carillon.attention.bucket_id is 'the time bucket, where it is about one';
comment on column carillon.attention.node_id is 'the node, where it is about one';
