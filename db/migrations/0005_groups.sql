-- The users of one schedule due at one instant. Its identity is the occurrence: due_at may move before the first claim.
create table carillon.time_buckets (
  bucket_id bigint generated always as identity primary key,
  schedule_id bigint not null references carillon.schedules,
  topic_id integer not null references carillon.topics,
  occurrence text not null,
  round smallint not null default 0,
  due_at timestamptz not null,
  due_day date not null generated always as ((due_at at time zone 'UTC')::date) stored,
  expires_at timestamptz not null check (expires_at > due_at),
  -- estimated when the bucket was cut
  population integer,
  planned_at timestamptz not null default clock_timestamp(),
  cut_at timestamptz,
  cancelled_at timestamptz,
  closed_at timestamptz,
  closed_as text check (closed_as in ('done', 'cancelled', 'skipped')),
  unique (schedule_id, occurrence, round),
  check ((closed_at is null) = (closed_as is null))
);
create index time_buckets_open on carillon.time_buckets (due_at) where closed_at is null;
create index time_buckets_by_day on carillon.time_buckets (due_day);

-- One range of hash slots of a time bucket: the unit of work, of a job and of a lease.
-- Written at every step of a delivery, so: room on the page, no index on what changes at every step (HOT updates), and
-- vacuum on a count of dead rows, not on a share of a table that grows.
create table carillon.groups (
  bucket_id bigint not null references carillon.time_buckets,
  group_number integer not null check (group_number >= 0),
  first_slot integer not null check (first_slot between 0 and 65535),
  last_slot integer not null check (last_slot between first_slot and 65535),
  -- start and end mark
  started_at timestamptz,
  finished_at timestamptz,
  -- the lease: rises with each claim, and every write about the group is fenced by it and by the token
  epoch integer not null default 0,
  claim_token uuid,
  node_id integer,
  lease_until timestamptz,
  -- claims since the mark moved last
  takeovers smallint not null default 0,
  rescues smallint not null default 0,
  not_before timestamptz not null,
  halted_at timestamptz,
  -- the position up to which members have their intent, and the number of the next chunk
  mark_slot integer not null,
  mark_user bigint not null default 0,
  next_chunk integer not null default 0,
  paged_at timestamptz,
  -- progress, kept beside the lease so that nobody needs to scan the ledger for it
  intended integer not null default 0,
  delivered integer not null default 0,
  failed integer not null default 0,
  suppressed integer not null default 0,
  expired integer not null default 0,
  cancelled integer not null default 0,
  in_doubts integer not null default 0,
  last_fault text,
  primary key (bucket_id, group_number),
  check ((claim_token is null) = (lease_until is null)),
  check (finished_at is null or claim_token is null)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0);
create index groups_open on carillon.groups (bucket_id, group_number) where finished_at is null;

-- Deliveries of a group that are to be tried again. The group's owner works on them under the group's own lease.
create table carillon.deferred (
  bucket_id bigint not null,
  group_number integer not null,
  hash_slot integer not null,
  user_number bigint not null,
  ordinal smallint not null,
  -- of the next try
  attempt smallint not null check (attempt >= 1),
  next_try_at timestamptz not null,
  -- perhaps sent already
  in_doubt boolean not null default false,
  -- how often an owner was lost while this was in doubt
  takeovers smallint not null default 0,
  parked_at timestamptz,
  -- the chunk under which it is being sent just now
  intent_chunk integer,
  reason text not null,
  primary key (bucket_id, group_number, hash_slot, user_number, ordinal),
  foreign key (bucket_id, group_number) references carillon.groups on delete cascade
);
