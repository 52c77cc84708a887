-- Did they get it, when, and if not, why not?
--
-- One row per delivery: what its latest chunk says. A condition on bucket_id, or on bucket_id and user_number, reaches
-- the ledger itself; one on user_id alone does not: ask carillon.delivery_history(user_id) for that.
drop view if exists carillon.deliveries cascade;
create view carillon.deliveries as
select
  d.bucket_id,
  t.name as topic,
  d.schedule_id,
  d.occurrence,
  d.round,
  d.due_at,
  u.user_id,
  d.user_number,
  d.ordinal,
  e.channel,
  case
    when o.state is not null then o.state
    when g.epoch = d.epoch and g.lease_until >= statement_timestamp() then 'sending'
    else 'in doubt'
  end as state,
  o.reason,
  d.http_status,
  d.detail,
  d.attempt,
  case when o.state = 'delivered' then d.due_at + d.after_due_ms * interval '1 millisecond' end as accepted_at,
  case when o.state = 'delivered' then d.after_due_ms end as lateness_ms,
  d.recorded_at,
  d.group_number,
  d.chunk_number,
  d.node_id,
  n.name as node
from (
  select distinct on (m.bucket_id, m.user_number, m.ordinal)
    m.bucket_id,
    m.user_number,
    m.ordinal,
    m.due_day,
    b.topic_id,
    b.schedule_id,
    b.occurrence,
    b.round,
    b.due_at,
    m.group_number,
    m.chunk_number,
    m.epoch,
    m.node_id,
    m.attempt,
    m.code,
    m.after_due_ms,
    m.recorded_at,
    m.http_status,
    m.detail
  from carillon.time_buckets b
  -- the day names the partition, so that no other is looked into
  join carillon.chunk_members m on m.bucket_id = b.bucket_id and m.due_day = b.due_day
  order by m.bucket_id, m.user_number, m.ordinal, m.chunk_number desc, m.outcome_epoch desc nulls last, m.outcome_part desc
) d
join carillon.topics t using (topic_id)
join carillon.groups g using (bucket_id, group_number)
left join carillon.outcome_codes o using (code)
left join carillon.nodes n on n.node_id = d.node_id
left join carillon.users u on u.user_number = d.user_number
left join carillon.endpoints e
  on e.hash_slot = u.hash_slot and e.user_number = d.user_number and e.ordinal = d.ordinal;

comment on view carillon.deliveries is
  'One row per delivery that has its intent. Ask for a bucket_id; for one user, carillon.delivery_history(user_id).';
comment on column carillon.deliveries.bucket_id is 'the time bucket';
comment on column carillon.deliveries.topic is 'name of the topic';
comment on column carillon.deliveries.schedule_id is 'the schedule that the bucket is a moment of';
comment on column carillon.deliveries.occurrence is 'the rule''s own key of the moment';
comment on column carillon.deliveries.round is '0: the moment itself; more: what failed, again';
comment on column carillon.deliveries.due_at is 'the moment';
comment on column carillon.deliveries.user_id is 'the user; null: erased since';
comment on column carillon.deliveries.user_number is 'the user''s number';
comment on column carillon.deliveries.ordinal is 'which of the user''s endpoints; 0: there was none';
comment on column carillon.deliveries.channel is 'the endpoint''s channel; null: no endpoint, or erased since';
comment on column carillon.deliveries.state is
  'delivered, failed, expired, suppressed, cancelled (final); deferred (to be tried again); sending (intent written, '
  'its owner at work); in doubt (intent written, no outcome, and its owner is gone)';
comment on column carillon.deliveries.reason is 'why, in the words of outcome_codes';
comment on column carillon.deliveries.http_status is 'the receiver''s answer, where it has one and it was not accepted';
comment on column carillon.deliveries.detail is 'what exactly went wrong, where that is known';
comment on column carillon.deliveries.attempt is '0: the first try';
comment on column carillon.deliveries.accepted_at is 'when the receiver accepted it';
comment on column carillon.deliveries.lateness_ms is 'milliseconds from the moment until then';
comment on column carillon.deliveries.recorded_at is 'when its state was recorded';
comment on column carillon.deliveries.group_number is 'which group of the bucket';
comment on column carillon.deliveries.chunk_number is 'which chunk of the group, the latest that has it';
comment on column carillon.deliveries.node_id is 'the node that tried last';
comment on column carillon.deliveries.node is 'that node''s name';
