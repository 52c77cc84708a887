import type { Database } from "./database.ts";
import { byKey, type Executor, inTransaction } from "./executor.ts";

/** What listeners can be told of. */
export const eventKinds = [
  "bucket.closed",
  "endpoint.gone",
  "chunk.parked",
  "channel.stopped",
  "channel.resumed",
] as const;
export type EventKind = (typeof eventKinds)[number];

/** An event as it is sent to one listener. */
export interface ClaimedEvent {
  /** a UUID, the same at each attempt */
  readonly eventId: string;
  readonly kind: EventKind;
  readonly at: Date;
  /** 0 at the first one */
  readonly attempt: number;
  /** docs/events.md; null: there is nothing left to tell, since the people whom it was about have been erased */
  readonly data: unknown;
}

/** A listener for whom there is something to send. */
export interface DueListener {
  readonly destinationId: number;
  /** batches in a row of which it took nothing */
  readonly failures: number;
}

/*
 * The outbox. Events are written by the statement that does what they tell of: outcome.ts (endpoint.gone, chunk.parked)
 * and triggers on time_buckets (bucket.closed) and destinations (channel.stopped, channel.resumed), a row a listener.
 *
 * No transaction is open while one is sent. Whoever sends it has claimed it: `next_try_at` is set a lease ahead, so that
 * nobody else takes it, and `attempts` rises.
 * - its node dies: the lease runs out, and any node takes it again, with the same id.
 * - the node was only slow, and another one has taken it again: what it writes about a failure is refused, since
 *   `attempts` has moved on. What it writes about a success is not: the listener has the event.
 * - it was taken, and Postgres could not be told: it is sent again, with the same id. At least once, as all that is told.
 */

/** Those who may be sent to now and for whom something is due. */
export async function dueListeners(executor: Executor): Promise<readonly DueListener[]> {
  const { rows } = await executor.query<{ destination_id: number; failures: number }>({
    name: "due_listeners",
    text: `
      select l.destination_id, l.failures
      from carillon.event_listeners l
      join carillon.destinations d using (destination_id)
      where l.not_before <= clock_timestamp() and d.disabled_at is null
        and exists (
          select from carillon.events e
          where e.destination_id = l.destination_id and e.next_try_at <= clock_timestamp())`,
  });
  return rows.map((row) => ({ destinationId: row.destination_id, failures: row.failures }));
}

/**
 * Takes up to `limit` events of a listener that are due, those that have waited longest first; none of one that is put
 * off, which is asked here once more: whoever found it due may have found so before that.
 *
 * @param leaseMs nobody else takes them for so long
 */
export async function claimEvents(
  executor: Executor,
  destinationId: number,
  { limit, leaseMs }: { readonly limit: number; readonly leaseMs: number },
): Promise<readonly ClaimedEvent[]> {
  const { rows } = await executor.query<{
    event_id: string;
    kind: EventKind;
    at: Date;
    attempts: number;
    data: unknown;
  }>({
    name: "claim_events",
    text: `
      with due as materialized (
        select event_id
        from carillon.events
        where destination_id = $1 and next_try_at <= clock_timestamp()
          and (select l.not_before <= clock_timestamp() from carillon.event_listeners l where l.destination_id = $1)
        order by next_try_at
        limit $2
        for no key update skip locked
      )
      update carillon.events e
      set attempts = e.attempts + 1, next_try_at = clock_timestamp() + $3::int * interval '1 millisecond'
      from due
      where e.event_id = due.event_id
      returning e.event_id, e.kind, e.at, e.attempts, ${dataOf("e")} as data`,
    values: [destinationId, limit, leaseMs],
  });
  return rows.map(({ event_id: eventId, kind, at, attempts, data }) => ({
    eventId,
    kind,
    at,
    attempt: attempts - 1,
    data,
  }));
}

/** Numbers become names here, at each attempt anew: who was erased meanwhile has none. */
function dataOf(event: string): string {
  return `
    case ${event}.kind
      when 'endpoint.gone' then (
        select jsonb_build_object('endpoints', jsonb_agg(jsonb_build_object('user', u.user_id, 'ordinal', x.ordinal,
          'channel', x.channel, 'destination', d.name, 'reason', x.reason) order by u.user_id, x.ordinal))
        from jsonb_to_recordset(${event}.about -> 'endpoints')
          as x ("userNumber" bigint, ordinal integer, channel text, "destinationId" integer, reason text)
        join carillon.users u on ${byKey("u.user_number", 'x."userNumber"')}
        left join carillon.destinations d on d.destination_id = x."destinationId"
        having count(*) > 0
      )
      when 'chunk.parked' then (
        select jsonb_build_object('bucket', b.bucket_id::text, 'topic', t.name, 'dueAt', carillon.utc_text(b.due_at),
          'expiresAt', carillon.utc_text(b.expires_at)) || (${event}.about - 'bucketId')
        from carillon.time_buckets b
        join carillon.topics t using (topic_id)
        where b.bucket_id = (${event}.about ->> 'bucketId')::bigint
      )
      else ${event}.about
    end`;
}

/** They were taken, or there is nothing to tell any more. */
export async function finishEvents(executor: Executor, eventIds: readonly string[]): Promise<void> {
  await executor.query({
    name: "finish_events",
    text: "delete from carillon.events where event_id = any ($1::uuid[])",
    values: [eventIds],
  });
}

export interface PutOffEvent {
  readonly eventId: string;
  readonly attempt: number;
  readonly waitMs: number;
  /** null: it was not tried, so this attempt does not count */
  readonly fault: string | null;
}

/** They were not taken: to be tried again, unless somebody else has claimed them meanwhile. */
export async function putOffEvents(executor: Executor, events: readonly PutOffEvent[]): Promise<void> {
  await executor.query({
    name: "put_off_events",
    text: `
      update carillon.events e
      set next_try_at = clock_timestamp() + x.wait_ms * interval '1 millisecond',
          attempts = e.attempts - (x.fault is null)::int,
          fault = coalesce(x.fault, e.fault)
      from unnest($1::uuid[], $2::int[], $3::float8[], $4::text[]) as x (event_id, attempts, wait_ms, fault)
      where e.event_id = x.event_id and e.attempts = x.attempts`,
    values: [
      events.map(({ eventId }) => eventId),
      events.map(({ attempt }) => attempt + 1),
      events.map(({ waitMs }) => waitMs),
      events.map(({ fault }) => fault?.slice(0, 200) ?? null),
    ],
  });
}

/** It took nothing: nothing is sent to it for so long, by nobody. */
export async function putOffListener(executor: Executor, destinationId: number, waitMs: number): Promise<void> {
  await executor.query({
    name: "put_off_listener",
    text: `
      update carillon.event_listeners
      set failures = failures + 1, not_before = clock_timestamp() + $2::float8 * interval '1 millisecond'
      where destination_id = $1`,
    values: [destinationId, waitMs],
  });
}

/** It takes events. */
export async function welcomeListener(executor: Executor, destinationId: number): Promise<void> {
  await executor.query({
    name: "welcome_listener",
    text: `
      update carillon.event_listeners set failures = 0, not_before = '-infinity'
      where destination_id = $1 and failures > 0`,
    values: [destinationId],
  });
}

/** A moment of ten million deliveries has its percentiles within it; nobody waits for them. */
const gatherTimeoutMs = 120_000;

/**
 * Gathers the facts of one closed bucket that listeners are to be told of: they are final, so once is enough. Its row is
 * locked meanwhile, and other nodes pass it over; the bucket is not.
 *
 * @param signal ends it, at once and in Postgres too: a node that stops does not wait for it
 * @returns whether there was one
 */
export function gatherFacts(db: Pick<Database, "pool">, signal?: AbortSignal): Promise<boolean> {
  return inTransaction(db, async (client) => {
    const { rows } = await client.query<{ pid: number }>(
      "select pg_backend_pid() as pid, set_config('statement_timeout', $1, true)",
      [String(gatherTimeoutMs)],
    );
    signal?.throwIfAborted();
    const cancel = () =>
      // one that can't be cancelled has lost its connection, or has ended
      void db.pool.query("select pg_cancel_backend($1)", [rows[0]?.pid]).catch(() => undefined);
    signal?.addEventListener("abort", cancel, { once: true });
    const gather = {
      text: `
        with next as materialized (
          select event_id, (about ->> 'bucketId')::bigint as bucket_id
          from carillon.events
          where next_try_at = 'infinity'
          order by at
          limit 1
          for no key update skip locked
        )
        update carillon.events e
        set next_try_at = clock_timestamp(),
            about = coalesce((
              select jsonb_build_object('bucket', p.bucket_id::text, 'topic', p.topic, 'schedule', p.schedule_id::text,
                'occurrence', p.occurrence, 'dueAt', carillon.utc_text(p.due_at), 'state', p.state,
                'counts', jsonb_build_object('delivered', p.delivered, 'failed', p.failed, 'suppressed', p.suppressed,
                  'expired', p.expired, 'cancelled', p.cancelled, 'inDoubt', p.in_doubts))
              from carillon.bucket_progress p
              where p.bucket_id = next.bucket_id
            ), '{}') || jsonb_build_object('latenessMs', (
              select jsonb_build_object('p50', l.p50_ms, 'p99', l.p99_ms, 'max', l.last_ms)
              from carillon.bucket_lateness l
              where l.bucket_id = next.bucket_id
            ))
        from next
        where e.event_id = next.event_id`,
      // the pool's own limit is shorter
      query_timeout: gatherTimeoutMs + 1000,
    };
    try {
      const { rowCount } = await client.query(gather);
      return rowCount === 1;
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  });
}

/** What was not taken within so long is given up. */
export const eventDays = 3;

/** @returns how many were given up, or had lost their listener */
export async function expireEvents(executor: Executor): Promise<number> {
  const { rowCount } = await executor.query({
    name: "expire_events",
    text: `
      delete from carillon.events e
      where e.at < clock_timestamp() - interval '${eventDays} days'
        or not exists (select from carillon.event_listeners l where l.destination_id = e.destination_id)`,
  });
  return rowCount ?? 0;
}
