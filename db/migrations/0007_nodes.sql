-- One running process. A row per start, never per name: a pod that keeps its name must be found dead when it dies.
create table carillon.nodes (
  node_id integer generated always as identity primary key,
  name text not null,
  role text not null check (role in ('api', 'worker')),
  pid integer not null,
  version text not null,
  slots integer not null default 0,
  started_at timestamptz not null default clock_timestamp(),
  heartbeat_at timestamptz not null default clock_timestamp(),
  stopped_at timestamptz,
  -- of the node's wall clock against Postgres'; it decides nothing and is watched
  clock_skew_ms double precision
);
create index nodes_alive on carillon.nodes (role) where stopped_at is null;

create table carillon.api_keys (
  key_id integer generated always as identity primary key,
  name text not null check (length(name) between 1 and 100),
  hash bytea not null unique check (length(hash) = 32),
  scopes text[] not null check (scopes <@ array['subscribe', 'admin'] and cardinality(scopes) > 0),
  created_at timestamptz not null default clock_timestamp(),
  revoked_at timestamptz,
  last_used_at timestamptz
);
