-- The ledger: insert-only, by chunk, partitioned by due day. It holds numbers only, so erasing a person needs no write
-- here. A row per user would cost 30 times the WAL and half the speed (ARCHITECTURE.md, "The ledger").

-- What a byte in the ledger means. src/reminder/outcome-code.ts says the same; a test compares both.
create table carillon.outcome_codes (
  code smallint primary key,
  state text not null check (state in ('delivered', 'failed', 'expired', 'suppressed', 'cancelled', 'deferred')),
  reason text not null,
  final boolean not null generated always as (state <> 'deferred') stored,
  in_doubt boolean not null default false
);
insert into carillon.outcome_codes (code, state, reason, in_doubt) values
  (1, 'delivered', 'accepted', false),
  (10, 'failed', 'rejected', false),
  (11, 'failed', 'gone', false),
  (12, 'failed', 'attempts exhausted', false),
  (13, 'failed', 'in doubt', true),
  (14, 'failed', 'in doubt, not sent again', false),
  (20, 'expired', 'expired', false),
  (30, 'suppressed', 'ended', false),
  (31, 'suppressed', 'paused', false),
  (32, 'suppressed', 'muted', false),
  (33, 'suppressed', 'no endpoint', false),
  (34, 'suppressed', 'destination disabled', false),
  (40, 'cancelled', 'cancelled', false),
  (50, 'deferred', 'not sent', false),
  (51, 'deferred', 'in doubt', true);

-- Intent: "these are about to be sent", written before the first byte, with the members themselves: a range would be
-- read again after a crash, and by then people have come and gone.
create table carillon.chunks (
  due_day date not null,
  bucket_id bigint not null,
  group_number integer not null,
  chunk_number integer not null,
  epoch integer not null,
  node_id integer not null,
  attempt smallint not null,
  intent_at timestamptz not null,
  -- first and last position
  first_slot integer not null,
  first_user bigint not null,
  last_slot integer not null,
  last_user bigint not null,
  user_numbers bigint[] not null,
  -- of each member's endpoint; 0: no endpoint
  ordinals smallint[] not null,
  -- a code per member, 0: to be sent; null: all are to be sent
  refused bytea,
  primary key (bucket_id, group_number, chunk_number, due_day),
  check (cardinality(user_numbers) = cardinality(ordinals)),
  check (length(refused) = cardinality(user_numbers))
) partition by range (due_day);
-- compressed in the row itself: a detour through TOAST would be a second write
alter table carillon.chunks alter column user_numbers set storage main, alter column ordinals set storage main,
  alter column refused set storage main;

-- What became of members of a chunk: a code and the milliseconds after due_at each.
create table carillon.outcomes (
  due_day date not null,
  bucket_id bigint not null,
  group_number integer not null,
  chunk_number integer not null,
  -- of the owner that recorded it, which is a later one than the chunk's for what was found in doubt
  epoch integer not null,
  part integer not null,
  recorded_at timestamptz not null,
  -- indexes into the chunk's members, from 0; null: all of them that were to be sent
  indexes smallint[],
  codes bytea not null,
  after_due_ms integer[] not null,
  primary key (bucket_id, group_number, chunk_number, epoch, part, due_day),
  check (length(codes) = cardinality(after_due_ms))
) partition by range (due_day);
alter table carillon.outcomes alter column indexes set storage main, alter column codes set storage main,
  alter column after_due_ms set storage main;

-- Why a member failed or was deferred, where the code alone does not say it.
create table carillon.failures (
  due_day date not null,
  bucket_id bigint not null,
  group_number integer not null,
  chunk_number integer not null,
  user_number bigint not null,
  ordinal smallint not null,
  code smallint not null,
  http_status smallint,
  reason text not null
) partition by range (due_day);
create index failures_by_chunk on carillon.failures (bucket_id, group_number, chunk_number);

-- A day's partitions. Created apart and then attached: that takes a lock which lets reads and writes of the ledger go on
-- (creating a table as a partition would wait for all of them, and have all of them wait).
create function carillon.make_ledger_day(day date) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  part text;
  partition text;
begin
  foreach part in array array['chunks', 'outcomes', 'failures'] loop
    partition := part || '_' || to_char(day, 'YYYYMMDD');
    if to_regclass('carillon.' || partition) is null then
      perform pg_advisory_xact_lock(hashtextextended('carillon.make_ledger_day', 0));
      -- asked again by a query: to_regclass may answer from a cache that waiting for the lock has not refreshed
      if not exists (
        select from pg_catalog.pg_class c
        where c.relnamespace = 'carillon'::regnamespace and c.relname = partition
      ) then
        execute format('create table carillon.%I (like carillon.%I including all)', partition, part);
        execute format('alter table carillon.%I attach partition carillon.%I for values from (%L) to (%L)',
          part, partition, day, day + 1);
      end if;
    end if;
  end loop;
end
$$;
