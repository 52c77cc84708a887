-- Timetables are no longer prayer times alone: the sun's times, opening hours by weekday, tables that were uploaded.
alter table carillon.timetables drop constraint timetables_kind_check;
alter table carillon.timetables add constraint timetables_kind_check
  check (kind in ('prayer', 'sun', 'weekly', 'table'));
comment on column carillon.timetables.kind is
  'What computes the times: prayer, sun, weekly (opening hours) or table (uploaded). What parameters mean depends on it.';
