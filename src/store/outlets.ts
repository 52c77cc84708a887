import { noDestination } from "./destinations.ts";
import type { Executor } from "./executor.ts";

/** How fast a destination may be sent to, over all nodes. */
export interface Pace {
  readonly perSecond: number;
  /** after a silence the pace rises from a tenth to the whole over so long; 0: at once */
  readonly rampUpMs: number;
}

/** A block of sends: they may begin after so long, and take so long at the destination's pace. */
export interface PaceBlock {
  readonly waitMs: number;
  readonly lastsMs: number;
}

export type Reservation =
  | { readonly kind: "unpaced" }
  | ({ readonly kind: "reserved" } & PaceBlock)
  /** nothing was taken: others have sends reserved for so long */
  | { readonly kind: "full"; readonly waitMs: number };

/**
 * @returns null: it may be sent to as fast as it takes
 * @throws not_found
 */
export async function readPace(executor: Executor, name: string): Promise<Pace | null> {
  const { rows } = await executor.query<{ per_second: number | null; ramp_up_ms: number | null }>(
    `select p.per_second, p.ramp_up_ms
     from carillon.destinations d left join carillon.paces p using (destination_id)
     where d.name = $1`,
    [name],
  );
  const [row] = rows;
  if (row === undefined) throw noDestination(name);
  const { per_second: perSecond, ramp_up_ms: rampUpMs } = row;
  return perSecond === null || rampUpMs === null ? null : { perSecond, rampUpMs };
}

/**
 * @param pace null: none
 * @throws not_found
 */
export async function setPace(executor: Executor, name: string, pace: Pace | null): Promise<Pace | null> {
  if (pace === null) {
    await executor.query(
      "delete from carillon.paces p using carillon.destinations d where d.destination_id = p.destination_id and d.name = $1",
      [name],
    );
  } else {
    await executor.query(
      `insert into carillon.paces (destination_id, per_second, ramp_up_ms)
       select destination_id, $2, $3 from carillon.destinations where name = $1
       on conflict (destination_id) do update set per_second = excluded.per_second, ramp_up_ms = excluded.ramp_up_ms`,
      [name, pace.perSecond, pace.rampUpMs],
    );
  }
  return readPace(executor, name);
}

/**
 * Takes the next block of sends of a destination's pace, if it begins soon enough. `free_at` moves on by the time that the
 * block takes, so blocks never overlap, whoever takes them: the row's lock puts nodes in order, and each statement
 * computes from the newest row (READ COMMITTED). A block that is taken and not used, by a node that dies say, is a pause of
 * its length.
 *
 * @param count sends
 * @param withinMs how late it may begin
 */
export async function reserve(
  executor: Executor,
  destinationId: number,
  count: number,
  withinMs: number,
): Promise<Reservation> {
  const { rows } = await executor.query<{ granted: boolean; wait_ms: number; lasts_ms: number }>({
    name: "reserve_pace",
    text: `
      with held as materialized (
        select * from carillon.paces where destination_id = $1 for no key update
      ), asked as materialized (
        -- behind the lock, so that the time is not older than the row
        select h.*, clock_timestamp() as now from held h
      ), begun as (
        select a.*, greatest(a.free_at, a.now) as begins_at,
          case when a.free_at < a.now - interval '10 seconds' then a.now else a.busy_since end as since
        from asked a
      ), block as materialized (
        select b.*, b.begins_at <= b.now + $3::int * interval '1 millisecond' as granted,
          $2::int / b.per_second / case
            when b.ramp_up_ms = 0 then 1
            else greatest(0.1, least(1, extract(epoch from b.begins_at - b.since) * 1000 / b.ramp_up_ms))
          end as seconds
        from begun b
      ), moved as (
        update carillon.paces p
        set free_at = b.begins_at + make_interval(secs => b.seconds), busy_since = b.since
        from block b
        where p.destination_id = b.destination_id and b.granted
      )
      select granted, (extract(epoch from begins_at - now) * 1000)::float8 as wait_ms, (seconds * 1000)::float8 as lasts_ms
      from block`,
    values: [destinationId, count, withinMs],
  });
  const [row] = rows;
  if (row === undefined) return { kind: "unpaced" };
  return row.granted
    ? { kind: "reserved", waitMs: row.wait_ms, lastsMs: row.lasts_ms }
    : { kind: "full", waitMs: row.wait_ms };
}

/**
 * Says that a destination's credential is refused, or that it no longer is. Several workers find it out at about the same
 * time: the first one's words stay.
 */
export async function markStopped(executor: Executor, destinationId: number, reason: string | null): Promise<void> {
  await executor.query(
    `update carillon.destinations
     set stopped_at = case when $2::text is null then null else coalesce(stopped_at, clock_timestamp()) end,
         stopped_reason = case when $2::text is null then null else coalesce(stopped_reason, $2) end
     where destination_id = $1 and (stopped_at is null) = ($2::text is not null)`,
    [destinationId, reason?.slice(0, 200) ?? null],
  );
}
