-- Files that are read in, and how far. The place of a batch is moved within the batch's own transaction, so a file whose
-- import was cut off goes on exactly behind what was committed.
create table carillon.imports (
  import_id integer generated always as identity primary key,
  kind text not null check (kind in ('places', 'users', 'endpoints', 'subscriptions', 'timetables')),
  format text not null check (format in ('csv', 'ndjson', 'geonames', 'city-timezones')),
  -- of the file as it was read: a file that was changed is another import
  sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
  source text not null,
  lines_done bigint not null default 0,
  inserted bigint not null default 0,
  changed bigint not null default 0,
  unchanged bigint not null default 0,
  skipped bigint not null default 0,
  bad bigint not null default 0,
  zones_suggested bigint not null default 0,
  started_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz,
  -- each record takes a line at least
  check (inserted + changed + unchanged + skipped + bad <= lines_done)
);
-- Who begins the same file again finds the row of the one that was cut off; what is finished stays as history.
create unique index imports_under_way on carillon.imports (kind, format, sha256) where finished_at is null;
comment on table carillon.imports is
  'Files that carillon import has read, or is reading (finished_at is null).';
comment on column carillon.imports.lines_done is
  'Lines of the file, from its first, whose rows are committed; the same command goes on behind them.';
comment on column carillon.imports.unchanged is 'Rows that were there already, just as the file has them.';
comment on column carillon.imports.skipped is 'Lines that hold nothing of this kind: empty ones, and GeoNames'' other features.';
comment on column carillon.imports.bad is 'Lines that were left out, for a reason that was reported.';
comment on column carillon.imports.zones_suggested is 'Places whose zone was not given and was suggested from their coordinates.';

-- Constant default: no rewrite of the table.
alter table carillon.places add column zone_source text not null default 'given'
  check (zone_source in ('given', 'suggested'));
comment on column carillon.places.zone_source is
  'given: by whoever saved the place. suggested: looked up from its coordinates, and perhaps wrong near a border of zones.';
