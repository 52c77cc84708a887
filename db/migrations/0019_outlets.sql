-- A destination that refuses its credential is not sent to until it is asked again: a worker says so here, for all to see.
alter table carillon.destinations
  add column stopped_at timestamptz,
  add column stopped_reason text,
  add constraint destinations_stopped_check check ((stopped_at is null) = (stopped_reason is null));
comment on column carillon.destinations.stopped_at is 'since when its credential is refused (401, 403); it is tried again every half a minute, and cleared when it is accepted';

-- How fast a destination is sent to, over all nodes. A row is its pace's clock: whoever is to send takes a block of sends
-- by moving `free_at` on by the time that they take. One statement a block, not a send.
create table carillon.paces (
  destination_id integer primary key references carillon.destinations on delete cascade,
  per_second real not null check (per_second > 0),
  ramp_up_ms integer not null default 0 check (ramp_up_ms between 0 and 3600000),
  free_at timestamptz not null default '-infinity',
  busy_since timestamptz not null default '-infinity'
) with (fillfactor = 20);
comment on table carillon.paces is 'the quota of a destination (a provider''s project), shared by all nodes';
comment on column carillon.paces.per_second is 'sends a second, all nodes together';
comment on column carillon.paces.ramp_up_ms is 'after a silence the pace rises from a tenth to the whole over so long';
comment on column carillon.paces.free_at is 'when the next block of sends may begin';
comment on column carillon.paces.busy_since is 'when sending began after the last silence of ten seconds';

-- A moment whose users need not all be told in the same second: its groups are released one after another.
alter table carillon.topics add column spread_ms integer not null default 0 check (spread_ms between 0 and 3600000);
comment on column carillon.topics.spread_ms is 'a moment''s groups are released evenly over so long; 0: all at once';
