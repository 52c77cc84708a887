-- Who is not to be sent to, or not now: what users want (preferences, quiet hours), and whom the operator keeps from being
-- sent to at all. Asked of each chunk by its intent (src/store/gate.ts), so laid out in firing order, as the mutes are.

insert into carillon.outcome_codes (code, state, reason, in_doubt) values
  (36, 'suppressed', 'opted out', false),
  (37, 'suppressed', 'suppression list', false),
  (38, 'suppressed', 'quiet hours', false),
  -- not final: comes again at the end of the quiet hours
  (52, 'deferred', 'quiet hours', false);

-- Stands until it is taken back. Topic 0: all topics, channel '': all channels.
create table carillon.preferences (
  hash_slot integer not null check (hash_slot between 0 and 65535),
  user_number bigint not null references carillon.users on delete cascade,
  topic_id integer not null default 0,
  channel text not null default '' check (length(channel) <= 100),
  allowed boolean not null,
  primary key (hash_slot, user_number, topic_id, channel)
);
comment on table carillon.preferences is
  'What users want and do not want, by topic (0: all) and channel ('''': all). The most specific one holds: topic before channel.';

-- Wall times in the user's own zone; an end that is not after the start is on the next day.
create table carillon.quiet_hours (
  hash_slot integer not null check (hash_slot between 0 and 65535),
  user_number bigint not null references carillon.users on delete cascade,
  topic_id integer not null default 0,
  starts_at time(0) not null,
  ends_at time(0) not null,
  primary key (hash_slot, user_number, topic_id),
  check (starts_at <> ends_at),
  check (starts_at < '24:00' and ends_at < '24:00')
);
comment on table carillon.quiet_hours is
  'When users want silence, every day, for one topic or (topic 0) for all. What is due then is held until the end.';

-- By outside id, which need not be known yet and outlives a user who is erased: who is on the list stays on it.
create table carillon.suppressions (
  user_id text primary key check (length(user_id) between 1 and 200),
  hash_slot integer not null generated always as (carillon.hash_slot(user_id)) stored,
  reason text not null check (length(reason) between 1 and 200),
  -- null: for good
  ends_at timestamptz,
  created_at timestamptz not null default clock_timestamp()
);
create index suppressions_by_slot on carillon.suppressions (hash_slot);
comment on table carillon.suppressions is
  'The suppression list: outside ids that get nothing at all, why, and (by carillon.clock()) until when.';

alter table carillon.topics add column ignores_quiet_hours boolean not null default false;
comment on column carillon.topics.ignores_quiet_hours is 'sent at its moment even in a user''s quiet hours';

-- A day's quiet hours are the instants from its start to before its end. Where clocks go forward over a wall time, it is
-- taken at the offset before; where they go back over it, it is the later of the two: so Postgres reads it, and so an end
-- never comes before the user's clock has shown it for good. One expression, so that it is inlined.
create function carillon.quiet_until(starts_at time, ends_at time, zone text, at timestamptz) returns timestamptz
language sql stable parallel safe
as $$
  select greatest(
    case
      when at >= ((at at time zone zone)::date + starts_at) at time zone zone
        and at < ((at at time zone zone)::date + (ends_at <= starts_at)::int + ends_at) at time zone zone
      then ((at at time zone zone)::date + (ends_at <= starts_at)::int + ends_at) at time zone zone
    end,
    case
      when at >= ((at at time zone zone)::date - 1 + starts_at) at time zone zone
        and at < ((at at time zone zone)::date - 1 + (ends_at <= starts_at)::int + ends_at) at time zone zone
      then ((at at time zone zone)::date - 1 + (ends_at <= starts_at)::int + ends_at) at time zone zone
    end)
$$;
comment on function carillon.quiet_until(time, time, text, timestamptz) is
  'The end of the quiet hours that an instant lies in; null: it lies in none. The zone must be one that Postgres knows.';

-- Zones are checked against the zone data of Node, which may be newer. A zone that raised an error inside an intent would
-- keep a whole group from being sent.
create function carillon.known_zone(zone text) returns text
language plpgsql stable strict
as $$
begin
  -- an expression by itself, which costs a tenth of a statement
  return case when timestamptz 'epoch' at time zone zone is not null then zone end;
exception when invalid_parameter_value then
  return null;
end
$$;
comment on function carillon.known_zone(text) is 'The zone, if Postgres knows it; else null.';

create function carillon.schedule_zone(schedule_id bigint) returns text
language sql stable strict parallel safe
as $$
  select coalesce(s.rule ->> 'zone', p.zone)
  from carillon.schedules s
  left join carillon.places p using (place_id)
  where s.schedule_id = schedule_zone.schedule_id
$$;
comment on function carillon.schedule_zone(bigint) is 'The zone of a schedule''s rule or place; null: it has none.';

-- What quiet hours hold waits for a real time, which loses its meaning when a development clock is set: it is asked anew.
alter function carillon.replace_clock(text, text, text) rename to replace_clock_functions;
create function carillon.replace_clock(clock_body text, real_time_body text, speed_body text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform carillon.replace_clock_functions(clock_body, real_time_body, speed_body);
  update carillon.deferred set next_try_at = clock_timestamp()
  where reason = 'quiet hours' and intent_chunk is null and next_try_at > clock_timestamp();
end
$$;
revoke execute on function carillon.replace_clock(text, text, text) from public;
comment on function carillon.replace_clock(text, text, text) is
  'Part of set_development_clock and reset_development_clock.';
