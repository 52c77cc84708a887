-- What gives a place its times changes after people subscribed: a timetable is a list of versions, each from a date on,
-- and whoever changes one - over HTTP, by the CLI or by plain SQL - ends in the same triggers, which hand the schedules
-- there to the planner again. Programs of before this migration can't read timetables any more.

create table carillon.timetable_versions (
  timetable_id integer not null references carillon.timetables on delete cascade,
  -- given by a trigger, and never given twice
  version integer not null check (version > 0),
  effective_from date check (effective_from between '0001-01-01' and '9999-12-31'),
  parameters jsonb not null check (jsonb_typeof(parameters) = 'object'),
  note text check (length(note) between 1 and 1000),
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  primary key (timetable_id, version),
  constraint timetable_versions_overlap unique nulls not distinct (timetable_id, effective_from)
);
comment on table carillon.timetable_versions is
  'What a timetable says, from a date on. On a date, the version with the latest effective_from that is not after it holds.';
comment on column carillon.timetable_versions.version is 'counts up; given on insert, whatever is said';
comment on column carillon.timetable_versions.effective_from is
  'the first date, of each place''s own calendar, on which it holds; null: since ever. One version of each timetable holds since ever';
comment on column carillon.timetable_versions.parameters is 'what they mean depends on the timetable''s kind';
comment on column carillon.timetable_versions.note is 'why it was made, for people';
comment on column carillon.timetable_versions.updated_at is 'when it was corrected last';

insert into carillon.timetable_versions (timetable_id, version, effective_from, parameters, created_at, updated_at)
select timetable_id, 1, null, parameters, updated_at, updated_at from carillon.timetables;

alter table carillon.timetables drop column parameters, drop column updated_at;
alter table carillon.timetables rename column version to last_version;
alter table carillon.timetables alter column last_version set default 0;
update carillon.timetables set last_version = 1;
comment on column carillon.timetables.last_version is 'the highest number that a version was given';

-- The functions below run with their owner's rights: who may change versions, places or topics may have no more than
-- these grants, and could neither write schedules nor add a job (graphile-worker's tables have row security). They
-- name every schema themselves, find nothing through the caller's search_path, and nobody else may call them.

create function carillon.number_timetable_version() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'UPDATE' then
    new.updated_at := clock_timestamp();
    return new;
  end if;
  -- the row's lock also puts inserts of one timetable in order
  update carillon.timetables set last_version = last_version + 1
  where timetable_id = new.timetable_id
  returning last_version into new.version;
  -- no such timetable: the foreign key says so
  new.version := coalesce(new.version, 1);
  return new;
end
$$;
create trigger number_version before insert or update on carillon.timetable_versions
for each row execute function carillon.number_timetable_version();

-- Asked at the commit, so that two versions can change their dates in one transaction. Two transactions that are each
-- right can't be wrong together: the version that holds since ever is one row, and both would write it.
create function carillon.check_timetable_versions() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  changed integer := case when tg_op = 'INSERT' then new.timetable_id else old.timetable_id end;
begin
  if exists (select from carillon.timetables where timetable_id = changed)
    and not exists (
      select from carillon.timetable_versions where timetable_id = changed and effective_from is null)
  then
    raise exception using errcode = 'check_violation', schema = 'carillon', table = 'timetable_versions',
      constraint = 'timetable_versions_without_hole',
      message = format('timetable %s has no version that holds since ever (effective_from is null)', changed),
      hint = 'Dates before its first version would have no times. Correct that version instead.';
  end if;
  return null;
end
$$;
create constraint trigger timetables_without_hole after insert on carillon.timetables
deferrable initially deferred for each row execute function carillon.check_timetable_versions();
create constraint trigger timetable_versions_without_hole after update or delete on carillon.timetable_versions
deferrable initially deferred for each row execute function carillon.check_timetable_versions();

-- The same job as src/store/jobs.ts takes; the one definition of how it is added.
create function carillon.wake_planner() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform graphile_worker.add_job('carillon.plan', '{}'::json,
    job_key := 'carillon.plan', job_key_mode := 'preserve_run_at', max_attempts := 5);
end
$$;
comment on function carillon.wake_planner() is 'Has a planner run as soon as this transaction is committed, once, however many ask for it.';

-- Hands the schedules at these places to the planner, in their order: two that change the same places wait for each
-- other. A planner that has some of them just now is waited for, and plans them again after us.
create function carillon.replan_schedules_at(places integer[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  with there as materialized (
    select schedule_id from carillon.schedules where place_id = any (places) order by schedule_id for no key update
  )
  update carillon.schedules s set next_due_at = carillon.clock() from there where s.schedule_id = there.schedule_id;
  if found then perform set_config('carillon.wakes_planner', pg_current_xact_id()::text, true); end if;
end
$$;

create function carillon.times_have_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform carillon.replan_schedules_at(array(
    select p.place_id from carillon.places p where p.timetable_id in (select timetable_id from changed)));
  return null;
end
$$;
create function carillon.corrected_times_have_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  -- a note changes no times
  perform carillon.replan_schedules_at(array(
    select p.place_id from carillon.places p where p.timetable_id in (
      select c.timetable_id from changed c
      where not exists (
        select from before b
        where (b.timetable_id, b.version, b.parameters) = (c.timetable_id, c.version, c.parameters)
          and b.effective_from is not distinct from c.effective_from)
      union
      select b.timetable_id from before b
      where not exists (select from changed c where c.timetable_id = b.timetable_id))));
  return null;
end
$$;
create function carillon.kind_has_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform carillon.replan_schedules_at(array(
    select p.place_id from changed c
    join before b on b.timetable_id = c.timetable_id and b.kind <> c.kind
    join carillon.places p on p.timetable_id = c.timetable_id));
  return null;
end
$$;
create function carillon.places_have_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform carillon.replan_schedules_at(array(
    select c.place_id from changed c
    join before b on b.place_id = c.place_id
    where (b.latitude, b.longitude, b.zone, b.country, b.timetable_id)
      is distinct from (c.latitude, c.longitude, c.zone, c.country, c.timetable_id)));
  return null;
end
$$;

create trigger times_new after insert on carillon.timetable_versions
referencing new table as changed for each statement execute function carillon.times_have_changed();
create trigger times_corrected after update on carillon.timetable_versions
referencing old table as before new table as changed
for each statement execute function carillon.corrected_times_have_changed();
create trigger times_gone after delete on carillon.timetable_versions
referencing old table as changed for each statement execute function carillon.times_have_changed();
create trigger times_of_kind after update on carillon.timetables
referencing old table as before new table as changed
for each statement execute function carillon.kind_has_changed();
create trigger times_of_place after update on carillon.places
referencing old table as before new table as changed
for each statement execute function carillon.places_have_changed();

-- The planner is woken at the commit and not by the statement: a job that is added is locked until then, and who thinks
-- a correction over in an open psql must not make everybody wait who subscribes meanwhile. Once a transaction, however
-- many rows it changed.
create function carillon.wake_planner_at_commit() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if current_setting('carillon.wakes_planner', true) = pg_current_xact_id()::text then
    perform set_config('carillon.wakes_planner', '', true);
    perform carillon.wake_planner();
  end if;
  return null;
end
$$;
create constraint trigger wake_planner after insert or update or delete on carillon.timetable_versions
deferrable initially deferred for each row execute function carillon.wake_planner_at_commit();
create constraint trigger wake_planner after update of kind on carillon.timetables
deferrable initially deferred for each row execute function carillon.wake_planner_at_commit();
create constraint trigger wake_planner after update of latitude, longitude, zone, country, timetable_id on carillon.places
deferrable initially deferred for each row execute function carillon.wake_planner_at_commit();

-- What is planned and not begun follows a topic's new expiry. Locks as everywhere: bucket, then its groups in order. A
-- claim that came first has raised the epoch, and that moment ends as it began; one that comes later reads the new one.
create function carillon.expiry_has_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  open_buckets bigint[];
begin
  select array_agg(o.bucket_id) into open_buckets from (
    select b.bucket_id
    from changed c
    join before o on o.topic_id = c.topic_id and o.expires_after_ms <> c.expires_after_ms
    join carillon.time_buckets b on b.topic_id = c.topic_id and b.closed_at is null
    order by b.bucket_id
    for no key update of b
  ) o;
  if open_buckets is null then return null; end if;
  perform from carillon.groups where bucket_id = any (open_buckets) order by bucket_id, group_number for no key update;
  update carillon.time_buckets b
  set expires_at = b.due_at + t.expires_after_ms * interval '1 millisecond'
  from carillon.topics t
  where b.bucket_id = any (open_buckets) and t.topic_id = b.topic_id
    and not exists (select from carillon.groups g where g.bucket_id = b.bucket_id and g.epoch > 0);
  return null;
end
$$;
create trigger expiry_of_topic after update on carillon.topics
referencing old table as before new table as changed
for each statement execute function carillon.expiry_has_changed();

revoke execute on function carillon.number_timetable_version(), carillon.check_timetable_versions(),
  carillon.wake_planner(), carillon.replan_schedules_at(integer[]), carillon.times_have_changed(),
  carillon.corrected_times_have_changed(), carillon.kind_has_changed(), carillon.places_have_changed(),
  carillon.wake_planner_at_commit(), carillon.expiry_has_changed()
from public;

-- Zone data comes with each node's Node. Versions of it (2026b) sort as text.
alter table carillon.deployment add column tzdata text collate "C";
comment on column carillon.deployment.tzdata is 'the newest zone data that any planning node has brought';
alter table carillon.nodes add column tzdata text collate "C";
comment on column carillon.nodes.tzdata is 'the node''s zone data';
alter table carillon.time_buckets add column tzdata text collate "C";
comment on column carillon.time_buckets.tzdata is 'the zone data that its moment was planned under';
alter table carillon.schedules add column tzdata text collate "C" not null default '';
comment on column carillon.schedules.tzdata is 'the zone data that it was planned under last; empty: none on record';
alter table carillon.schedules add column plan_fault text;
comment on column carillon.schedules.plan_fault is 'why it could not be planned; null: it could';

-- What newer zone data has to plan again is found by it, each time that a planner runs.
create index schedules_by_tzdata on carillon.schedules (tzdata) where next_due_at is not null and rule ->> 'kind' <> 'instant';
-- A schedule's moments that are not over are read whenever it is planned, among those of years.
create index time_buckets_open_by_schedule on carillon.time_buckets (schedule_id) where closed_at is null;
create index schedules_not_planned on carillon.schedules (schedule_id) where plan_fault is not null;
