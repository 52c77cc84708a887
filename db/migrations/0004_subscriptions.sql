-- A kind of reminder: its message and its policies.
create table carillon.topics (
  topic_id integer generated always as identity primary key,
  name text not null unique check (length(name) between 1 and 100),
  title text not null default '',
  body text not null default '',
  data jsonb,
  delivery_mode text not null default 'at_least_once' check (delivery_mode in ('at_least_once', 'at_most_once')),
  expires_after_ms integer not null default 600000 check (expires_after_ms between 1000 and 604800000),
  catch_up text not null default 'latest' check (catch_up in ('skip', 'latest', 'all')),
  -- null: by population
  group_count integer check (group_count between 2 and 65536),
  paused_at timestamptz,
  version integer not null default 1,
  updated_at timestamptz not null default clock_timestamp()
);

-- The one definition of when two rules are the same: defaults filled in, instants in UTC and kept to the second,
-- weekdays in order. Wall times stay wall times: src/timetable/civil-time.ts alone turns them into instants.
create function carillon.canonical_rule(rule jsonb) returns jsonb
language sql immutable strict parallel safe
set timezone to 'UTC'
as $$
  select case rule ->> 'kind'
    when 'instant' then jsonb_build_object(
      'kind', 'instant',
      'at', to_char(date_trunc('second', (rule ->> 'at')::timestamptz), 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
    when 'wall' then jsonb_build_object(
      'kind', 'wall',
      'time', to_char((rule ->> 'time')::time, 'HH24:MI:SS'),
      'zone', rule ->> 'zone',
      'days', coalesce(
        (select jsonb_agg(distinct day::int order by day::int) from jsonb_array_elements_text(rule -> 'days') as d (day)),
        '[1, 2, 3, 4, 5, 6, 7]'),
      'gap', coalesce(rule ->> 'gap', 'shift'),
      'overlap', coalesce(rule ->> 'overlap', 'first'))
    when 'timetable' then jsonb_build_object(
      'kind', 'timetable',
      'placeId', (rule ->> 'placeId')::int,
      'slot', rule ->> 'slot',
      'offsetMinutes', coalesce((rule ->> 'offsetMinutes')::int, 0))
  end
$$;
comment on function carillon.canonical_rule(jsonb) is
  'A rule with its defaults filled in and its parts in order; two rules that mean the same have the same.';

-- One shared rule of when, under a topic. Its time is computed once, however many subscribe to it.
create table carillon.schedules (
  schedule_id bigint generated always as identity primary key,
  topic_id integer not null references carillon.topics,
  rule jsonb not null check (rule = carillon.canonical_rule(rule)),
  place_id integer references carillon.places,
  -- the next moment that has no time bucket yet; now, when new or edited; null when the rule has ended
  next_due_at timestamptz,
  -- moments up to here have their time buckets
  planned_through timestamptz not null default carillon.clock(),
  paused_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  unique (topic_id, rule)
);
create index schedules_to_plan on carillon.schedules (next_due_at) where next_due_at is not null;
create index schedules_by_place on carillon.schedules (place_id) where place_id is not null;

-- One user's standing request. It is known by its position: (schedule, hash slot, user number). Leaving sets ended_at,
-- so that who comes back stands where they stood and can't be met twice by a group that is under way.
--
-- No foreign keys on purpose: a check on a schedule that a whole livestream subscribes to locks its row once per
-- subscriber (multixacts), and neither schedules nor numbered users are ever deleted from under a subscription.
create table carillon.subscriptions (
  schedule_id bigint not null,
  user_number bigint not null,
  hash_slot integer not null,
  subscribed_at timestamptz not null default carillon.clock(),
  ended_at timestamptz,
  primary key (schedule_id, hash_slot, user_number)
);
create index subscriptions_by_user on carillon.subscriptions (user_number);
