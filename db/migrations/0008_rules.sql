-- Rules say more: several offsets, a first and a last date, whose zone it is; and recurrences (RFC 5545) are rules too.

-- An RRULE's parts in one order, upper case, numbers without sign or zeros in front, lists in order and without repeats,
-- what RFC 5545 takes for granted (INTERVAL=1, WKST=MO) left out, and a date as UNTIL as the end of that day.
-- Whether it makes sense is for src/timetable/rrule.ts to say.
create function carillon.canonical_rrule(rrule text) returns text
language sql immutable strict parallel safe
as $$
  select string_agg(name || '=' || value, ';' order by place, name)
  from (
    select
      name,
      array_position(array['FREQ', 'INTERVAL', 'COUNT', 'UNTIL', 'BYMONTH', 'BYWEEKNO', 'BYYEARDAY', 'BYMONTHDAY', 'BYDAY',
        'BYHOUR', 'BYMINUTE', 'BYSECOND', 'BYSETPOS', 'WKST'], name) as place,
      case
        when name in ('INTERVAL', 'COUNT') then value::int::text
        when name = 'UNTIL' and length(value) = 8 then value || 'T235959'
        when name = 'BYDAY' then (
          select string_agg(coalesce(ordinal::text, '') || day, ',' order by array_position(week, day), ordinal nulls first)
          from (
            select distinct right(item, 2) as day, nullif(left(item, -2), '')::int as ordinal
            from unnest(string_to_array(value, ',')) as i (item)
          ) as days, (select array['MO', 'TU', 'WE', 'TH', 'FR', 'SA', 'SU']) as w (week)
        )
        when name like 'BY%' then (
          select string_agg(number::text, ',' order by number)
          from (select distinct item::int from unnest(string_to_array(value, ',')) as i (item)) as n (number)
        )
        else value
      end as value
    from (
      select split_part(part, '=', 1) as name, split_part(part, '=', 2) as value
      from unnest(string_to_array(regexp_replace(upper(rrule), '^RRULE:', ''), ';')) as p (part)
    ) as parts
  ) as parts
  where (name, value) not in (('INTERVAL', '1'), ('WKST', 'MO'))
$$;
comment on function carillon.canonical_rrule(text) is
  'An RRULE (RFC 5545) with its parts in order; two that are spelled differently and mean the same have the same.';

-- RDATE or EXDATE: local date-times in order, without repeats.
create function carillon.canonical_date_times(date_times jsonb) returns jsonb
language sql immutable parallel safe
as $$
  select coalesce(jsonb_agg(item order by item), '[]')
  from (
    select distinct to_char(item::timestamp, 'YYYY-MM-DD"T"HH24:MI:SS')
    from jsonb_array_elements_text(date_times) as i (item)
  ) as distinct_items (item)
$$;
comment on function carillon.canonical_date_times(jsonb) is 'Local date-times of a rule in order, without repeats.';

-- What all rules but the instant have in common. `offsetMinutes` is a short way to say one offset.
create function carillon.canonical_bounds(rule jsonb) returns jsonb
language sql immutable strict parallel safe
as $$
  select jsonb_strip_nulls(jsonb_build_object(
    'offsetsMinutes', coalesce(
      (select jsonb_agg(distinct minutes::int order by minutes::int)
       from jsonb_array_elements_text(rule -> 'offsetsMinutes') as o (minutes)),
      jsonb_build_array(coalesce((rule ->> 'offsetMinutes')::int, 0))),
    'startsOn', to_char((rule ->> 'startsOn')::date::timestamp, 'YYYY-MM-DD'),
    'endsOn', to_char((rule ->> 'endsOn')::date::timestamp, 'YYYY-MM-DD')))
$$;
comment on function carillon.canonical_bounds(jsonb) is
  'The part of a canonical rule that says by how much its moments are moved, from which date on and until when.';

-- What rules of wall times have in common.
create function carillon.canonical_zone(rule jsonb) returns jsonb
language sql immutable strict parallel safe
as $$
  select jsonb_strip_nulls(jsonb_build_object(
    'zone', rule ->> 'zone',
    'follows', rule ->> 'follows',
    'gap', coalesce(rule ->> 'gap', 'shift'),
    'overlap', coalesce(rule ->> 'overlap', 'first')))
$$;
comment on function carillon.canonical_zone(jsonb) is
  'The part of a canonical rule that says whose clocks it goes by, and what happens when they change.';

alter table carillon.schedules drop constraint schedules_rule_check;

-- The one definition of when two rules are the same: defaults filled in, instants in UTC and kept to the second,
-- weekdays, offsets and dates in order; what has no default is left out where it isn't said. Wall times stay wall
-- times: src/timetable/civil-time.ts alone turns them into instants.
create or replace function carillon.canonical_rule(rule jsonb) returns jsonb
language sql immutable strict parallel safe
set timezone to 'UTC'
as $$
  select case rule ->> 'kind'
    when 'instant' then jsonb_build_object(
      'kind', 'instant',
      'at', to_char(date_trunc('second', (rule ->> 'at')::timestamptz), 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
    when 'wall' then carillon.canonical_bounds(rule) || carillon.canonical_zone(rule) || jsonb_build_object(
      'kind', 'wall',
      'time', to_char((rule ->> 'time')::time, 'HH24:MI:SS'),
      'days', coalesce(
        (select jsonb_agg(distinct day::int order by day::int) from jsonb_array_elements_text(rule -> 'days') as d (day)),
        '[1, 2, 3, 4, 5, 6, 7]'))
    when 'recurrence' then carillon.canonical_bounds(rule) || carillon.canonical_zone(rule) || jsonb_build_object(
      'kind', 'recurrence',
      'start', to_char((rule ->> 'start')::timestamp, 'YYYY-MM-DD"T"HH24:MI:SS'),
      'rrule', carillon.canonical_rrule(rule ->> 'rrule'),
      'rdates', carillon.canonical_date_times(rule -> 'rdates'),
      'exdates', carillon.canonical_date_times(rule -> 'exdates'))
    when 'timetable' then carillon.canonical_bounds(rule) || jsonb_build_object(
      'kind', 'timetable',
      'placeId', (rule ->> 'placeId')::int,
      'slot', rule ->> 'slot')
  end
$$;
comment on function carillon.canonical_rule(jsonb) is
  'A rule with its defaults filled in and its parts in order; two rules that mean the same have the same.';

-- Nobody is moved: another spelling of the same rule keeps its schedule, and its occurrences keep their keys.
update carillon.schedules set rule = carillon.canonical_rule(rule) where rule ->> 'kind' <> 'instant';

alter table carillon.schedules add constraint schedules_rule_check check (rule = carillon.canonical_rule(rule));

-- A rule with a thousand exceptions is larger than an index row may be, so that equal rules are told by their hash.
create function carillon.rule_hash(rule jsonb) returns bytea
language sql immutable strict parallel safe
as $$ select sha256(convert_to(rule::text, 'UTF8')) $$;
comment on function carillon.rule_hash(jsonb) is 'What equal rules are found by: the hash of the canonical form.';

alter table carillon.schedules
  add column rule_hash bytea not null generated always as (carillon.rule_hash(rule)) stored,
  drop constraint schedules_topic_id_rule_key,
  add constraint schedules_topic_id_rule_hash_key unique (topic_id, rule_hash);
comment on column carillon.schedules.rule_hash is 'One topic has one schedule for a rule: the hash of the rule''s canonical form.';
