-- Planning writes a time bucket for each schedule while it holds the schedule's row, and to ask for that row once more for
-- each bucket, and for its topic's, was a sixth of what planning cost. The planner's own lock says as much: a schedule that
-- is locked can't be deleted, and a bucket's topic is its schedule's, which has a foreign key. What remains of the foreign
-- keys is that nobody deletes a schedule that has buckets.
alter table carillon.time_buckets
  drop constraint time_buckets_schedule_id_fkey,
  drop constraint time_buckets_topic_id_fkey;

-- A planner that has the schedule makes the delete wait, and its buckets are seen here (READ COMMITTED: this asks anew);
-- one that comes after a delete passes the schedule over.
create function carillon.refuse_deleting_planned() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  planned bigint;
begin
  select b.schedule_id into planned
  from gone g join carillon.time_buckets b on b.schedule_id = g.schedule_id
  limit 1;
  if planned is not null then
    raise exception using errcode = 'foreign_key_violation', schema = 'carillon', table = 'schedules',
      constraint = 'time_buckets_schedule_id_fkey',
      message = format('schedule %s has time buckets and can''t be deleted', planned);
  end if;
  return null;
end
$$;
revoke execute on function carillon.refuse_deleting_planned() from public;
create trigger planned_ones_stay after delete on carillon.schedules
  referencing old table as gone for each statement execute function carillon.refuse_deleting_planned();
