import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Webhook } from "standardwebhooks";

/** A request of an event as a listener got it, its signature verified by the library of the standard. */
export interface ToldEvent {
  readonly id: string;
  readonly attempt: number;
  readonly type: string;
  readonly timestamp: string;
  readonly data: Record<string, unknown>;
  /** what it was answered with; null: nothing yet */
  readonly status: number | null;
}

/** What a request is answered with; 429: with a Retry-After of a minute; null: nothing, the connection is left open. */
export type Answer = (event: ToldEvent) => number | null;

export interface ListeningServer extends AsyncDisposable {
  readonly url: string;
  /** in the order in which they came in, repeats among them */
  readonly log: readonly ToldEvent[];
  /** Resolves when the log is as wanted. */
  when(wanted: (log: readonly ToldEvent[]) => boolean): Promise<void>;
}

/**
 * Takes events on loopback.
 *
 * @param secret `whsec_...`; what it does not verify is answered with 401, and not in the log
 * @param answer default: 204
 */
export async function listenForEvents(secret: string, answer: Answer = () => 204): Promise<ListeningServer> {
  const webhook = new Webhook(secret);
  const log: ToldEvent[] = [];
  const waiting = new Set<() => void>();
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => take(request.headers, Buffer.concat(parts).toString("utf8"), response));
  });

  function take(headers: NodeJS.Dict<string | string[]>, body: string, response: ServerResponse): void {
    let verified: unknown;
    try {
      const signed = ["webhook-id", "webhook-timestamp", "webhook-signature"];
      verified = webhook.verify(body, Object.fromEntries(signed.map((name) => [name, String(headers[name])])));
    } catch {
      response.writeHead(401).end();
      return;
    }
    const { type, timestamp, data } = verified as Pick<ToldEvent, "type" | "timestamp" | "data">;
    const id = String(headers["webhook-id"]);
    const event = { id, attempt: Number(headers["carillon-attempt"]), type, timestamp, data };
    const status = answer({ ...event, status: null });
    log.push({ ...event, status });
    if (status !== null) response.writeHead(status, status === 429 ? { "retry-after": "60" } : {}).end();
    for (const look of waiting) look();
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    log,
    when: (wanted) =>
      new Promise((resolve) => {
        const look = () => {
          if (!wanted(log)) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      }),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
