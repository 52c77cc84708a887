-- Who moves gets a slot of one local date once: what has rung at the old place does not ring again at the new one, and
-- where the new place's time has passed already, the next day's comes.
alter table carillon.topics add column once_per_local_day boolean;
comment on column carillon.topics.once_per_local_day is
  'who moves gets one slot (and offset) of one local date once; null: for timetable rules yes, for others no';

-- Both are null for nearly everybody, and then take no room in what the fire loop reads.
alter table carillon.subscriptions add column moved_to bigint;
alter table carillon.subscriptions add column rung_through jsonb;

comment on column carillon.subscriptions.subscribed_at is
  'moments from here on are theirs. It may lie ahead of now: who moved here counts from behind what has rung elsewhere';
comment on column carillon.subscriptions.ended_at is
  'moments from here on are not theirs any more; null: it stands. Ahead of now by seconds: they are just moving away';
comment on column carillon.subscriptions.moved_to is
  'the schedule that they moved on to, where they did not simply leave: a moment from before ended_at is still sent';
comment on column carillon.subscriptions.rung_through is
  'who came from another place: by offset in minutes, the last local date (or date-time) that had rung for them when '
  'they came, {"0": "2026-11-24"}; null: none had';
