-- A timetable gives a place its times: (place, slot, date) -> local time.
create table carillon.timetables (
  timetable_id integer generated always as identity primary key,
  name text not null unique check (length(name) between 1 and 100),
  -- computed by src/timetable; what parameters mean depends on the kind
  kind text not null check (kind in ('prayer')),
  parameters jsonb not null default '{}',
  version integer not null default 1,
  updated_at timestamptz not null default clock_timestamp()
);
insert into carillon.timetables (name, kind) values ('prayer', 'prayer');

create table carillon.places (
  place_id integer generated always as identity primary key,
  -- the operator's own key for it, so that an import can be repeated
  key text not null unique check (length(key) between 1 and 200),
  name text not null check (length(name) between 1 and 200),
  country text check (country ~ '^[A-Z]{2}$'),
  latitude double precision not null check (latitude between -90 and 90),
  longitude double precision not null check (longitude between -180 and 180),
  zone text not null,
  population bigint not null default 0,
  timetable_id integer not null references carillon.timetables,
  created_at timestamptz not null default clock_timestamp()
);
create index places_by_timetable on carillon.places (timetable_id);
create index places_by_position on carillon.places using gist (point(longitude, latitude));

-- Great-circle distance on a sphere of 6,371 km (haversine).
create function carillon.distance_km(
  latitude1 double precision, longitude1 double precision, latitude2 double precision, longitude2 double precision
) returns double precision
language sql immutable strict parallel safe
as $$
  select 2 * 6371 * asin(least(1, sqrt(
    sin(radians(latitude2 - latitude1) / 2) ^ 2
    + cos(radians(latitude1)) * cos(radians(latitude2)) * sin(radians(longitude2 - longitude1) / 2) ^ 2
  )))
$$;

-- Degrees are not kilometres: a box that is wide enough at this latitude is asked of the index (on both sides of the
-- date line), and the great-circle distance decides among what lies in it.
create function carillon.nearest_place(latitude double precision, longitude double precision, within_km double precision)
returns table (place_id integer, distance_km double precision)
language sql stable strict parallel safe
as $$
  with asked as (
    select nearest_place.latitude as north, nearest_place.longitude as east, nearest_place.within_km as within
  ), reach as (
    select north, east, within, within / 111.0 as degrees_north,
      least(180, within / (111.0 * greatest(0.001, cos(radians(least(90, abs(north) + within / 111.0)))))) as degrees_east
    from asked
  )
  select p.place_id, d.km
  from reach r
  cross join (values (0), (-360), (360)) as turn (degrees)
  join carillon.places p
    on point(p.longitude, p.latitude) <@ box(
      point(r.east + turn.degrees - r.degrees_east, r.north - r.degrees_north),
      point(r.east + turn.degrees + r.degrees_east, r.north + r.degrees_north))
  cross join lateral (select carillon.distance_km(r.north, r.east, p.latitude, p.longitude) as km) d
  where d.km <= r.within
  order by d.km, p.population desc, p.place_id
  limit 1
$$;
comment on function carillon.nearest_place(double precision, double precision, double precision) is
  'The place nearest to the coordinates, if one is within the distance given in kilometres.';
