import { CarillonError } from "../errors.ts";
import type { Database } from "./database.ts";
import { noDestination, readDestination } from "./destinations.ts";
import type { EventKind } from "./events.ts";
import { type Executor, inTransaction } from "./executor.ts";

/** A webhook destination that is told what happens here. */
export interface EventListener {
  /** its name */
  readonly destination: string;
  readonly kinds: readonly EventKind[];
  /** events that it has not taken yet */
  readonly waiting: number;
  /** of the oldest of them; null: there are none */
  readonly waitingSince: Date | null;
  /** why the oldest was not taken at its last attempt; null: it was not tried yet, or there is none */
  readonly fault: string | null;
}

/** @throws not_found: there is no such destination, or it is told nothing */
export async function readListener(executor: Executor, destination: string): Promise<EventListener> {
  const { rows } = await executor.query<{
    kinds: EventKind[];
    waiting: number;
    since: Date | null;
    fault: string | null;
  }>(
    `select l.kinds, count(e.event_id)::int as waiting, min(e.at) as since,
       (array_agg(e.fault order by e.at) filter (where e.fault is not null))[1] as fault
     from carillon.event_listeners l
     join carillon.destinations d using (destination_id)
     left join carillon.events e using (destination_id)
     where d.name = $1
     group by l.destination_id`,
    [destination],
  );
  const [row] = rows;
  if (row === undefined) {
    throw new CarillonError("not_found", `${JSON.stringify(destination)} is no destination that is told of events.`);
  }
  return { destination, kinds: row.kinds, waiting: row.waiting, waitingSince: row.since, fault: row.fault };
}

/**
 * Has a destination told of events of these kinds from now on. What it waits for of other kinds is dropped.
 *
 * @throws not_found; destination_mismatch: it is no webhook
 */
export async function setListener(
  db: Database,
  destination: string,
  kinds: readonly EventKind[],
): Promise<EventListener> {
  const { destinationId, channel } = await readDestination(db, destination);
  if (channel !== "webhook") {
    throw new CarillonError("destination_mismatch", "Events are told to webhook destinations only.");
  }
  await inTransaction(db, async (client) => {
    await client.query(
      `insert into carillon.event_listeners (destination_id, kinds) values ($1, $2)
       on conflict (destination_id) do update set kinds = excluded.kinds, failures = 0, not_before = '-infinity'`,
      [destinationId, [...new Set(kinds)]],
    );
    await client.query("delete from carillon.events where destination_id = $1 and kind <> all ($2::text[])", [
      destinationId,
      kinds,
    ]);
  });
  return readListener(db.pool, destination);
}

/**
 * Has a destination told nothing any more; what it waits for is dropped. If it was told nothing, nothing changes.
 *
 * @throws not_found: there is no such destination
 */
export async function removeListener(db: Database, destination: string): Promise<void> {
  await inTransaction(db, async (client) => {
    const { rows } = await client.query<{ destination_id: number }>(
      "select destination_id from carillon.destinations where name = $1",
      [destination],
    );
    const [row] = rows;
    if (row === undefined) throw noDestination(destination);
    const listener = [row.destination_id];
    await client.query("delete from carillon.event_listeners where destination_id = $1", listener);
    // one that is written just now by somebody who still saw the listener goes with `expireEvents`
    await client.query("delete from carillon.events where destination_id = $1", listener);
  });
}
