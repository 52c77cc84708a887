-- How late were we?
drop view if exists carillon.bucket_lateness cascade;
create view carillon.bucket_lateness as
select
  b.bucket_id,
  t.name as topic,
  b.due_at,
  l.delivered,
  l.first_ms,
  l.p50_ms,
  l.p95_ms,
  l.p99_ms,
  l.last_ms
from carillon.time_buckets b
join carillon.topics t using (topic_id)
cross join lateral (
  select
    count(*)::integer as delivered,
    min(recorded.after_due_ms) as first_ms,
    percentile_disc(0.5) within group (order by recorded.after_due_ms) as p50_ms,
    percentile_disc(0.95) within group (order by recorded.after_due_ms) as p95_ms,
    percentile_disc(0.99) within group (order by recorded.after_due_ms) as p99_ms,
    max(recorded.after_due_ms) as last_ms
  from carillon.outcomes o
  cross join lateral unnest(o.after_due_ms) with ordinality as recorded (after_due_ms, place)
  join carillon.outcome_codes c on c.code = get_byte(o.codes, recorded.place::integer - 1) and c.state = 'delivered'
  where o.bucket_id = b.bucket_id and o.due_day = b.due_day
) l
where l.delivered > 0;

comment on view carillon.bucket_lateness is
  'One row per time bucket with deliveries: lateness is accepted minus due. Every delivery of the buckets asked for is read.';
comment on column carillon.bucket_lateness.bucket_id is 'the time bucket';
comment on column carillon.bucket_lateness.topic is 'name of the topic';
comment on column carillon.bucket_lateness.due_at is 'the moment';
comment on column carillon.bucket_lateness.delivered is 'deliveries accepted by a receiver';
comment on column carillon.bucket_lateness.first_ms is 'lateness of the first, in milliseconds';
comment on column carillon.bucket_lateness.p50_ms is 'half of them were no later';
comment on column carillon.bucket_lateness.p95_ms is '95 % of them were no later';
comment on column carillon.bucket_lateness.p99_ms is '99 % of them were no later';
comment on column carillon.bucket_lateness.last_ms is 'lateness of the last';
