-- What is late, by how much, and who has it?
drop view if exists carillon.overdue_groups cascade;
create view carillon.overdue_groups as
select
  g.bucket_id,
  g.group_number,
  g.topic,
  g.due_at,
  g.late_ms,
  g.state,
  case
    when g.lease_until is null then 'none'
    when g.lease_until < statement_timestamp() then 'run out'
    else 'live'
  end as lease,
  case when g.lease_until is not null then g.node_id end as node_id,
  case when g.lease_until is not null then g.node end as held_by,
  round(extract(epoch from statement_timestamp() - g.started_at) * 1000)::bigint as started_ms_ago,
  round(extract(epoch from g.lease_until - statement_timestamp()) * 1000)::bigint as lease_left_ms,
  g.not_before,
  g.intended,
  g.delivered,
  g.takeovers,
  g.last_fault
from carillon.open_groups g
where g.late_ms > 0;

comment on view carillon.overdue_groups is 'Groups whose moment has come and that are not finished, with who holds them.';
comment on column carillon.overdue_groups.bucket_id is 'the time bucket';
comment on column carillon.overdue_groups.group_number is 'which group of the bucket, from 0';
comment on column carillon.overdue_groups.topic is 'name of the topic';
comment on column carillon.overdue_groups.due_at is 'the moment';
comment on column carillon.overdue_groups.late_ms is 'milliseconds since the moment';
comment on column carillon.overdue_groups.state is 'as in open_groups';
comment on column carillon.overdue_groups.lease is 'live, run out (its owner is dead or cut off), none (nobody holds it)';
comment on column carillon.overdue_groups.node_id is 'the node that holds it';
comment on column carillon.overdue_groups.held_by is 'that node''s name';
comment on column carillon.overdue_groups.started_ms_ago is 'milliseconds since its start mark';
comment on column carillon.overdue_groups.lease_left_ms is 'milliseconds that the lease still holds; negative: since when it has run out';
comment on column carillon.overdue_groups.not_before is 'nobody claims it before';
comment on column carillon.overdue_groups.intended is 'deliveries that have their intent';
comment on column carillon.overdue_groups.delivered is 'deliveries accepted by a receiver';
comment on column carillon.overdue_groups.takeovers is 'claims since its mark moved last';
comment on column carillon.overdue_groups.last_fault is 'what went wrong with it last';
