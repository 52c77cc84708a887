create table carillon.users (
  user_number bigint generated always as identity primary key,
  user_id text not null unique check (length(user_id) between 1 and 200),
  hash_slot integer not null generated always as (carillon.hash_slot(user_id)) stored,
  zone text,
  locale text,
  created_at timestamptz not null default clock_timestamp()
);
comment on column carillon.users.user_id is 'the outside id; everything else refers to the user by number';

-- A webhook receiver that an admin set up. Secrets are sealed under a key from the environment.
create table carillon.destinations (
  destination_id integer generated always as identity primary key,
  name text not null unique check (length(name) between 1 and 100),
  url text not null check (length(url) <= 2048),
  sealed_secrets bytea[] not null check (cardinality(sealed_secrets) between 1 and 5),
  batch_size integer not null default 1 check (batch_size between 1 and 500),
  disabled_at timestamptz,
  disabled_reason text,
  updated_at timestamptz not null default clock_timestamp()
);

-- Where a user can be reached. Laid out in firing order, with what sending and rendering need beside the address:
-- reading it through a join on the user number would fetch heap pages at random at the moment that matters.
create table carillon.endpoints (
  hash_slot integer not null check (hash_slot between 0 and 65535),
  user_number bigint not null references carillon.users on delete cascade,
  ordinal smallint not null check (ordinal between 1 and 20),
  channel text not null,
  destination_id integer references carillon.destinations,
  address text not null check (length(address) between 1 and 2048),
  zone text,
  locale text,
  registered_at timestamptz not null default clock_timestamp(),
  gone_at timestamptz,
  gone_reason text,
  primary key (hash_slot, user_number, ordinal),
  check ((channel = 'webhook') = (destination_id is not null)),
  -- workers are handed a chunk's endpoints as lines of text; other control characters have no business here either
  check (concat(channel, address, zone, locale) !~ '[\u0001-\u001f\u007f]')
);

create function carillon.address_key(channel text, destination_id integer, address text) returns uuid
language sql immutable parallel safe
as $$ select md5(channel || ':' || coalesce(destination_id::text, '') || ':' || address)::uuid $$;

-- Registering the same address again is the same endpoint. A digest, because a device token has 160 bytes and more.
create unique index endpoints_by_address
  on carillon.endpoints (user_number, carillon.address_key(channel, destination_id, address));

-- Who wants silence, for one topic (or topic 0: all) and until when. Small, and in firing order like the endpoints.
create table carillon.mutes (
  hash_slot integer not null,
  user_number bigint not null references carillon.users on delete cascade,
  topic_id integer not null default 0,
  muted_until timestamptz not null,
  primary key (hash_slot, user_number, topic_id)
);
