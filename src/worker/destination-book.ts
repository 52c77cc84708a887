import type { Destination } from "../channels/channel.ts";
import { type Monotonic, monotonicMs } from "../clock.ts";
import type { Database } from "../store/database.ts";
import { openDestinations } from "../store/destinations.ts";

/** Destinations as sending needs them, with their secrets; what an admin changes is seen within seconds. */
export class DestinationBook {
  readonly #db: Database;
  readonly #secretKey: Uint8Array | null;
  readonly #monotonic: Monotonic;
  readonly #pages = new Map<number, { readonly destination: Destination | null; readonly readAtMs: number }>();

  constructor(db: Database, secretKey: Uint8Array | null, monotonic: Monotonic = monotonicMs) {
    this.#db = db;
    this.#secretKey = secretKey;
    this.#monotonic = monotonic;
  }

  /** null: there is none, or it was disabled. */
  async find(destinationId: number): Promise<Destination | null> {
    const page = this.#pages.get(destinationId);
    if (page !== undefined && this.#monotonic() - page.readAtMs < freshMs) return page.destination;
    const [open] = await openDestinations(this.#db.pool, [destinationId], this.#secretKey);
    const destination = open === undefined || open.disabledAt !== null ? null : open;
    this.#pages.set(destinationId, { destination, readAtMs: this.#monotonic() });
    return destination;
  }

  /** Those that were sent to lately, to be warmed. */
  get known(): readonly Destination[] {
    return [...this.#pages.values()].flatMap(({ destination }) => (destination === null ? [] : [destination]));
  }
}

const freshMs = 5_000;
