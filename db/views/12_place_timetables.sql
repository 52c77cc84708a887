-- What gives each place its times, today?

drop view if exists carillon.place_timetables cascade;
create view carillon.place_timetables as
select
  p.key as place,
  p.zone,
  t.name as timetable,
  t.kind,
  v.version,
  v.effective_from,
  n.effective_from as next_from,
  p.place_id,
  t.timetable_id
from carillon.places p
join carillon.timetables t using (timetable_id)
cross join (select (carillon.clock() at time zone 'UTC')::date as today) now
left join lateral (
  select v.version, v.effective_from
  from carillon.timetable_versions v
  where v.timetable_id = t.timetable_id and (v.effective_from is null or v.effective_from <= now.today)
  order by v.effective_from desc nulls last
  limit 1
) v on true
left join lateral (
  select min(v.effective_from) as effective_from
  from carillon.timetable_versions v
  where v.timetable_id = t.timetable_id and v.effective_from > now.today
) n on true;

comment on view carillon.place_timetables is
  'What gives each place its times. An operator may change it: places.timetable_id says which timetable a place has, '
  'timetable_versions what the timetable says. What is planned there and not begun moves with either.';
comment on column carillon.place_timetables.place is 'the place''s key';
comment on column carillon.place_timetables.zone is 'IANA zone whose dates and clocks count';
comment on column carillon.place_timetables.timetable is 'name of its timetable';
comment on column carillon.place_timetables.kind is 'how the timetable''s parameters are understood';
comment on column carillon.place_timetables.version is
  'the version that holds today, by the date in UTC (the place''s own may be the day before or after)';
comment on column carillon.place_timetables.effective_from is 'since when it holds; null: since ever';
comment on column carillon.place_timetables.next_from is 'when the next version begins; null: none is known';
comment on column carillon.place_timetables.place_id is 'number of the place';
comment on column carillon.place_timetables.timetable_id is 'number of the timetable';
