-- What did this user get, and when?
--
-- From the user's own subscriptions to the buckets of these schedules, by the hash slot to the one group, and by the
-- position to the few chunks that can hold the user: no day of the ledger is scanned.
drop function if exists carillon.delivery_history(text);
create function carillon.delivery_history(user_id text) returns table (
  due_at timestamptz,
  topic text,
  state text,
  reason text,
  accepted_at timestamptz,
  lateness_ms integer,
  attempt smallint,
  channel text,
  ordinal smallint,
  http_status smallint,
  detail text,
  bucket_id bigint,
  schedule_id bigint,
  occurrence text,
  round smallint,
  group_number integer,
  chunk_number integer,
  node text
)
language sql stable strict parallel restricted rows 100
as $$
  select
    d.due_at,
    t.name,
    case
      when o.state is not null then o.state
      when d.group_epoch = d.epoch and d.lease_until >= statement_timestamp() then 'sending'
      else 'in doubt'
    end,
    o.reason,
    case when o.state = 'delivered' then d.due_at + d.after_due_ms * interval '1 millisecond' end,
    case when o.state = 'delivered' then d.after_due_ms end,
    d.attempt,
    e.channel,
    d.ordinal,
    d.http_status,
    d.detail,
    d.bucket_id,
    d.schedule_id,
    d.occurrence,
    d.round,
    d.group_number,
    d.chunk_number,
    n.name
  from carillon.users u
  cross join lateral (
    select distinct on (b.bucket_id, m.ordinal)
      b.due_at, b.due_day, b.topic_id, b.bucket_id, b.schedule_id, b.occurrence, b.round,
      g.epoch as group_epoch, g.lease_until,
      m.group_number, m.chunk_number, m.epoch, m.node_id, m.attempt, m.ordinal, m.code, m.after_due_ms,
      m.http_status, m.detail
    from carillon.subscriptions s
    join carillon.time_buckets b on b.schedule_id = s.schedule_id
    join carillon.groups g
      on g.bucket_id = b.bucket_id and u.hash_slot between g.first_slot and g.last_slot
    join carillon.chunk_members m
      on m.due_day = b.due_day and m.bucket_id = b.bucket_id and m.group_number = g.group_number
      and (m.first_slot, m.first_user) <= (u.hash_slot, u.user_number)
      and (m.last_slot, m.last_user) >= (u.hash_slot, u.user_number)
      and m.user_number = u.user_number
    where s.user_number = u.user_number
    order by b.bucket_id, m.ordinal, m.chunk_number desc, m.outcome_epoch desc nulls last, m.outcome_part desc
  ) d
  join carillon.topics t on t.topic_id = d.topic_id
  left join carillon.outcome_codes o on o.code = d.code
  left join carillon.nodes n on n.node_id = d.node_id
  left join carillon.endpoints e
    on e.hash_slot = u.hash_slot and e.user_number = u.user_number and e.ordinal = d.ordinal
  where u.user_id = delivery_history.user_id
  order by d.due_at desc, d.bucket_id desc, d.ordinal
$$;
comment on function carillon.delivery_history(text) is
  'A user''s deliveries, newest first, by the outside user id; columns as in the view deliveries.';
