-- Everything that compares with a due instant asks carillon.clock(); leases and job run times stay on real Postgres time.
create schema if not exists carillon;

-- What this database is for. The demo and the development commands refuse a database that isn't marked for them.
create table carillon.deployment (
  singleton boolean primary key default true check (singleton),
  kind text not null default 'production' check (kind in ('production', 'development', 'demo')),
  created_at timestamptz not null default clock_timestamp()
);
insert into carillon.deployment default values;

create function carillon.clock() returns timestamptz
language sql volatile parallel restricted
as $$ select clock_timestamp() $$;
comment on function carillon.clock() is
  'The time that due instants are compared with.';

-- The one definition of the hash slot: the first two bytes of the sha256 of the user's outside id.
create function carillon.hash_slot(user_id text) returns integer
language sql immutable strict parallel safe
as $$
  select get_byte(sha256(convert_to(user_id, 'UTF8')), 0) * 256
       + get_byte(sha256(convert_to(user_id, 'UTF8')), 1)
$$;
comment on function carillon.hash_slot(text) is
  'A user''s hash slot, 0-65535: the users of one moment are spread over groups by it.';
