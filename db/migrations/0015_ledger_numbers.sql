-- A chunk's members are written in half the space and not compressed: to compress them took a fifth of an intent's time,
-- and four bytes a member, uncompressed, are about what eight bytes came to when compressed.
-- Ledgers that exist are rewritten, which takes a lock on them for as long as it takes.

-- the ledger keeps a user's number in four bytes
alter table carillon.users alter column user_number set maxvalue 2147483647;

alter table carillon.chunks
  alter column user_numbers type integer[] using user_numbers::integer[],
  alter column ordinals drop not null;
comment on column carillon.chunks.ordinals is
  'of each member''s endpoint; 0: no endpoint; null: all have one endpoint, their first';

-- Up to a page they stay in the row; beyond, they go to TOAST as they are.
do $$
declare
  part regclass;
begin
  alter table carillon.chunks alter column user_numbers set storage external, alter column ordinals set storage external;
  for part in select inhrelid::regclass from pg_catalog.pg_inherits where inhparent = 'carillon.chunks'::regclass loop
    execute format('alter table %s alter column user_numbers set storage external, alter column ordinals set storage external,
      set (toast_tuple_target = 8160)', part);
  end loop;
end
$$;

create or replace function carillon.make_ledger_day(day date) returns void
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
        -- a table's own setting, which its partitions don't take over
        if part = 'chunks' then
          execute format('alter table carillon.%I set (toast_tuple_target = 8160)', partition);
        end if;
        execute format('alter table carillon.%I attach partition carillon.%I for values from (%L) to (%L)',
          part, partition, day, day + 1);
      end if;
    end if;
  end loop;
end
$$;
