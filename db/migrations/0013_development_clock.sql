-- A clock for development: in a database that is marked for it, everything that asks carillon.clock() lives at another
-- time and pace, and leases, leads and timeouts stay on real time.
--
-- Where the clock was set, and its pace, stand as constants in the bodies of three functions and not in a table that they
-- would read: production's bodies are inlined into each statement and cost nothing. A cached plan is made anew when a
-- function that was inlined into it is replaced. That is why none of them is immutable: what planning folds into a
-- constant is not made anew.

create function carillon.real_time(at timestamptz) returns timestamptz
language sql stable parallel safe
as $$ select at $$;
comment on function carillon.real_time(timestamptz) is
  'When, on real time, carillon.clock() shows this: the same, but where a development clock is set.';

create function carillon.clock_speed() returns double precision
language sql stable parallel safe
as $$ select 1::double precision $$;
comment on function carillon.clock_speed() is
  'Seconds of carillon.clock() in a real second: 1, but where a development clock is set.';

create table carillon.development_clock (
  singleton boolean primary key default true check (singleton),
  clock_at timestamptz not null,
  real_at timestamptz not null,
  speed double precision not null
);
comment on table carillon.development_clock is
  'The development clock, where one is set: for people to read. What counts is in the functions, see set_development_clock.';
comment on column carillon.development_clock.clock_at is 'what carillon.clock() was set to';
comment on column carillon.development_clock.real_at is 'when';
comment on column carillon.development_clock.speed is 'seconds of carillon.clock() in a real second';

-- The bodies must be the migrations' own, letter by letter, so that nothing of a development clock is left behind.
create function carillon.replace_clock(clock_body text, real_time_body text, speed_body text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  shown_before timestamptz := carillon.clock();
  shown timestamptz;
  cuts bigint[];
  cut_seconds bigint[];
  leads interval[];
begin
  -- The jobs that cut the buckets of one second, which their keys name, and how long before it.
  select array_agg(id), array_agg(second), array_agg(carillon.real_time(to_timestamp(second)) - run_at)
  into cuts, cut_seconds, leads
  from (
    select id, run_at, split_part(key, ':', 2)::bigint as second
    from graphile_worker.jobs
    where task_identifier = 'carillon.cut' and locked_at is null and key ~ '^carillon\.cut:[0-9]+$'
    offset 0
  ) as cut;
  execute format(
    'create or replace function carillon.clock() returns timestamptz language sql volatile parallel restricted as %L',
    clock_body);
  execute format(
    'create or replace function carillon.real_time(at timestamptz) returns timestamptz language sql stable parallel safe as %L',
    real_time_body);
  execute format(
    'create or replace function carillon.clock_speed() returns double precision language sql stable parallel safe as %L',
    speed_body);
  execute 'select carillon.clock()' into shown;
  -- A clock that was set back shows again what schedules have been planned beyond.
  if shown < shown_before then
    update carillon.schedules set next_due_at = shown where next_due_at is null or next_due_at > shown;
  end if;
  -- They wait for a real time that has lost its meaning, and keep their lead. Groups that wait are looked at anew.
  for i in 1 .. coalesce(cardinality(cuts), 0) loop
    perform graphile_worker.reschedule_jobs(
      cuts[i : i], run_at := carillon.real_time(to_timestamp(cut_seconds[i])) - leads[i]);
  end loop;
  update carillon.groups set not_before = clock_timestamp() where finished_at is null and not_before > clock_timestamp();
end
$$;
revoke execute on function carillon.replace_clock(text, text, text) from public;
comment on function carillon.replace_clock(text, text, text) is
  'Part of set_development_clock and reset_development_clock.';

create function carillon.set_development_clock(now timestamptz, speed double precision) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  real_at timestamptz;
  literal text;
  real_literal text;
begin
  -- The lock lets one caller at a time replace the functions, and keeps the mark as it is until that is committed.
  perform from carillon.deployment where kind in ('development', 'demo') for update;
  if not found then
    raise exception 'this database is not marked for development: its clock shows real time'
      using errcode = 'UD001', hint = 'carillon dev and carillon demo mark theirs (carillon.deployment).';
  end if;
  -- Written so that NaN and null are refused too. A clock that all but stands has times beyond what can be reckoned with.
  if (speed >= 0.000001 and speed <= 3600) is not true then
    raise exception 'speed must be from 0.000001 to 3600, not %', speed using errcode = 'invalid_parameter_value';
  end if;
  if (now >= '1970-01-01T00:00:00Z' and now < '9999-01-01T00:00:00Z') is not true then
    raise exception 'now must lie in the years 1970 to 9998, not %', now using errcode = 'invalid_parameter_value';
  end if;
  real_at := clock_timestamp();
  insert into carillon.development_clock as c (clock_at, real_at, speed) values (now, real_at, speed)
  on conflict (singleton) do update set clock_at = excluded.clock_at, real_at = excluded.real_at, speed = excluded.speed;
  -- no session's own zone or style of dates may change what they mean
  literal := quote_literal(to_char(now at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) || '::timestamptz';
  real_literal := quote_literal(to_char(real_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) || '::timestamptz';
  -- seconds, never days: a day that is added in a session's own zone may have 23 hours. The bounds keep what a slow clock
  -- shows in thousands of years from having no time at all.
  perform carillon.replace_clock(
    format(' select %s + make_interval(secs => extract(epoch from clock_timestamp() - %s)::float8 * %s) ',
      literal, real_literal, speed),
    format(' select case when isfinite(at)'
      ' then %s + make_interval(secs => least(greatest(extract(epoch from at - %s)::float8 / %s, -6e10), 8e12))'
      ' else at end ', real_literal, literal, speed),
    format(' select %s::double precision ', speed));
end
$$;
comment on function carillon.set_development_clock(timestamptz, double precision) is
  'carillon.clock() shows `now` from now on and goes so many times as fast as real time. In databases marked for it only.';

create function carillon.reset_development_clock() returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform from carillon.deployment for update;
  delete from carillon.development_clock;
  if not exists (
    select
    from (values
      ('carillon.clock()'::regprocedure, ' select clock_timestamp() '),
      ('carillon.real_time(timestamptz)', ' select at '),
      ('carillon.clock_speed()', ' select 1::double precision ')) as wanted (function, body)
    join pg_proc p on p.oid = wanted.function
    where p.prosrc <> wanted.body)
  then
    return false;
  end if;
  perform carillon.replace_clock(' select clock_timestamp() ', ' select at ', ' select 1::double precision ');
  return true;
end
$$;
comment on function carillon.reset_development_clock() is
  'carillon.clock() shows real time again. Says whether it did not.';

-- Whoever may mark a database as production need not own its functions.
create function carillon.keep_production_clock_real() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (select from carillon.deployment where kind in ('development', 'demo')) then
    perform carillon.reset_development_clock();
  end if;
  return null;
end
$$;
create trigger keep_production_clock_real
after insert or update or delete or truncate on carillon.deployment
for each statement execute function carillon.keep_production_clock_real();
