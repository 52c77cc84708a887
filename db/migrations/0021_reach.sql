-- A topic may be content with the first endpoint that accepts. The others of a user then stand by: members of the chunk that
-- are not sent to, with a row in `deferred` that waits for what becomes of those before them (src/store/reach.ts).

insert into carillon.outcome_codes (code, state, reason, in_doubt) values
  (35, 'suppressed', 'not needed', false),
  -- not final: comes up when those before it have failed, or is not needed
  (53, 'deferred', 'waits for another endpoint', false);

alter table carillon.topics
  add column reach text not null default 'all' check (reach in ('all', 'first')),
  add column channel_order text[] not null default '{}'
    check (cardinality(channel_order) <= 20 and array_position(channel_order, null) is null);
comment on column carillon.topics.reach is
  'all: a reminder goes to all endpoints of a user; first: to the first that accepts, the next only after those before it have certainly failed';
comment on column carillon.topics.channel_order is
  'where reach is first, the channels in the order in which they are tried; those not named come last, endpoints of one channel by ordinal';

alter table carillon.deferred add column standby smallint check (standby >= 0);
comment on column carillon.deferred.standby is
  'null: to be tried; above 0: waits until all of the user''s with a lower number have failed; 0: not needed any more';

-- whom an outcome concerns is looked up by the user alone; where nobody stands by, it is empty
create index deferred_standing_by on carillon.deferred (bucket_id, group_number, user_number, standby)
  where standby is not null;
