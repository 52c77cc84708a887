-- What is told to the operator's own servers: an outbox, written by the statement that does what it tells of, so nothing is
-- lost and nothing is told that did not happen. Without listeners it stays empty.

create table carillon.event_listeners (
  destination_id integer primary key,
  channel text not null default 'webhook' check (channel = 'webhook'),
  kinds text[] not null check (
    cardinality(kinds) > 0
    and kinds <@ array['bucket.closed', 'endpoint.gone', 'chunk.parked', 'channel.stopped', 'channel.resumed']),
  -- of whole batches in a row; nothing is sent to it before
  failures integer not null default 0,
  not_before timestamptz not null default '-infinity',
  foreign key (destination_id, channel) references carillon.destinations (destination_id, channel) on delete cascade
);
comment on table carillon.event_listeners is 'webhook destinations that are told what happens here, and of what kinds';
comment on column carillon.event_listeners.failures is 'batches of events in a row of which it took none';
comment on column carillon.event_listeners.not_before is 'nothing is sent to it before';

-- One row an event and listener, gone when it was taken or is too old. No foreign key to the listener: it would lock that
-- row and could fail, and no outcome may fail because a listener leaves.
create table carillon.events (
  event_id uuid primary key default gen_random_uuid(),
  destination_id integer not null,
  kind text not null,
  -- numbers rather than names, as in the ledger, so that nothing of a person who was erased is left here
  about jsonb not null,
  at timestamptz not null default clock_timestamp(),
  -- also the fence of whoever is sending it
  attempts integer not null default 0,
  -- while it is being sent: until then nobody else takes it; infinity: its facts have not been gathered yet
  next_try_at timestamptz not null default clock_timestamp(),
  -- why it was not taken at the last attempt
  fault text
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
create index events_due on carillon.events (destination_id, next_try_at);
create index events_by_age on carillon.events (at);
create index events_to_gather on carillon.events (at) where next_try_at = 'infinity';
comment on table carillon.events is 'what listeners have not taken yet';
comment on column carillon.events.event_id is 'the webhook-id, constant over attempts';
comment on column carillon.events.next_try_at is 'when it is sent (again); infinity: not before its facts are gathered';

create function carillon.utc_text(at timestamptz) returns text
language sql stable parallel safe
as $$ select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') $$;
comment on function carillon.utc_text(timestamptz) is 'RFC 3339 in UTC with milliseconds, as events have their instants';

-- Buckets are closed in several places, so a trigger tells of it; once a statement, since small ones are closed by the
-- hundred (a thousand at once took 22 ms, and 36 with a trigger for each row, though nobody listened). The facts are read
-- later, not under the bucket's lock: lateness is asked of every delivery.
create function carillon.tell_of_closing() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (select from carillon.event_listeners where 'bucket.closed' = any (kinds)) then
    insert into carillon.events (destination_id, kind, about, next_try_at)
    select l.destination_id, 'bucket.closed', jsonb_build_object('bucketId', a.bucket_id), 'infinity'
    from after a
    join before b using (bucket_id)
    cross join carillon.event_listeners l
    where a.closed_at is not null and b.closed_at is null and 'bucket.closed' = any (l.kinds);
  end if;
  return null;
end
$$;
create trigger tell_of_closing after update on carillon.time_buckets
referencing old table as before new table as after
for each statement execute function carillon.tell_of_closing();

create function carillon.tell_of_stopping() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  told text := case when new.stopped_at is null then 'channel.resumed' else 'channel.stopped' end;
begin
  insert into carillon.events (destination_id, kind, about)
  select destination_id, told, jsonb_build_object('destination', new.name, 'channel', new.channel,
    'stoppedAt', carillon.utc_text(coalesce(new.stopped_at, old.stopped_at)), 'reason', coalesce(new.stopped_reason, old.stopped_reason))
  from carillon.event_listeners
  where told = any (kinds);
  return null;
end
$$;
create trigger tell_of_stopping after update of stopped_at on carillon.destinations
for each row when ((old.stopped_at is null) <> (new.stopped_at is null))
execute function carillon.tell_of_stopping();
