-- Who is there, and is the load even?
--
-- A killed process can't say that it stopped: it is shown as silent for an hour, or for as long as it holds groups.
drop view if exists carillon.node_load cascade;
create view carillon.node_load as
select
  n.node_id,
  n.name as node,
  n.role,
  case when n.heartbeat_at < statement_timestamp() - interval '10 seconds' then 'silent' else 'live' end as state,
  round(extract(epoch from statement_timestamp() - n.heartbeat_at) * 1000)::bigint as heartbeat_ms_ago,
  n.slots,
  coalesce(g.armed, 0) as groups_armed,
  coalesce(g.firing, 0) as groups_firing,
  coalesce(g.abandoned, 0) as groups_abandoned,
  coalesce(g.intended, 0) as intended,
  round(n.clock_skew_ms)::bigint as clock_skew_ms,
  n.pid,
  n.version,
  n.started_at
from carillon.nodes n
left join (
  select
    node_id,
    count(*) filter (where state = 'armed') as armed,
    count(*) filter (where state = 'firing') as firing,
    count(*) filter (where state = 'abandoned') as abandoned,
    sum(intended) filter (where state = 'firing') as intended
  from carillon.open_groups
  where lease_until is not null
  group by node_id
) g using (node_id)
where n.stopped_at is null
  and (n.heartbeat_at > statement_timestamp() - interval '1 hour' or g.node_id is not null);

comment on view carillon.node_load is 'One row per running node: its heartbeat, its clock and the groups that it holds.';
comment on column carillon.node_load.node_id is 'number of this start of the process';
comment on column carillon.node_load.node is 'its name';
comment on column carillon.node_load.role is 'api or worker';
comment on column carillon.node_load.state is 'live, or silent (no heartbeat for 10 s)';
comment on column carillon.node_load.heartbeat_ms_ago is 'milliseconds since its last heartbeat';
comment on column carillon.node_load.slots is 'groups that it works on at once, at most';
comment on column carillon.node_load.groups_armed is 'groups claimed ahead of their moment';
comment on column carillon.node_load.groups_firing is 'groups being sent';
comment on column carillon.node_load.groups_abandoned is 'groups whose lease it let run out';
comment on column carillon.node_load.intended is 'deliveries with an intent in the groups being sent';
comment on column carillon.node_load.clock_skew_ms is 'its wall clock against Postgres''; decides nothing';
comment on column carillon.node_load.pid is 'process id on its machine';
comment on column carillon.node_load.version is 'the program''s version';
comment on column carillon.node_load.started_at is 'when it started';
