import type { DemoUser } from "./demo-users.ts";

type Progress = (done: number, of: number) => void;

const itemsPerRequest = 1000;
const requestsAtOnce = 2;

/** The demo's users come in through the HTTP API, like anybody's. */
export class DemoClient {
  readonly #url: string;
  readonly #topic: string;
  readonly #destination: string;
  readonly #signal: AbortSignal;

  /** @param run tells this run's topic and destination from an earlier one's in the same database */
  constructor(url: string, run: string, signal: AbortSignal) {
    this.#url = url;
    this.#topic = `demo-${run}`;
    this.#destination = `receiver-${run}`;
    this.#signal = signal;
  }

  async prepare(receiverUrl: string, batchSize: number): Promise<void> {
    await this.#post("/v1/destinations", { name: this.#destination, url: receiverUrl, batchSize });
    await this.#post("/v1/topics", { name: this.#topic, title: "We are live", body: "The stream has begun." });
  }

  /** Registers an endpoint for every user. @returns how long it took */
  async register(users: readonly DemoUser[], progress: Progress): Promise<number> {
    const startedAt = performance.now();
    await this.#inChunks(users, progress, (chunk) =>
      this.#post("/v1/endpoints", {
        endpoints: chunk.map(({ userId }) => ({ userId, destination: this.#destination })),
      }),
    );
    return performance.now() - startedAt;
  }

  /** Subscribes every user to one instant. @returns the schedule that they share */
  async subscribe(users: readonly DemoUser[], dueAtMs: number, progress: Progress): Promise<string> {
    const at = new Date(dueAtMs).toISOString();
    let scheduleId = "";
    await this.#inChunks(users, progress, async (chunk) => {
      const reply = await this.#post("/v1/subscriptions", {
        subscriptions: chunk.map(({ userId, place }) => ({ userId, topic: this.#topic, at, zone: place.zone })),
      });
      scheduleId = firstScheduleId(reply);
    });
    return scheduleId;
  }

  async #inChunks(
    users: readonly DemoUser[],
    progress: Progress,
    send: (chunk: readonly DemoUser[]) => Promise<unknown>,
  ): Promise<void> {
    let next = 0;
    let done = 0;
    const work = async () => {
      while (next < users.length) {
        const chunk = users.slice(next, next + itemsPerRequest);
        next += itemsPerRequest;
        await send(chunk);
        done += chunk.length;
        progress(done, users.length);
      }
    };
    await Promise.all(Array.from({ length: requestsAtOnce }, work));
  }

  async #post(path: string, body: unknown): Promise<unknown> {
    const response = await fetch(`${this.#url}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      signal: this.#signal,
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`POST ${path} was answered ${response.status}: ${text.slice(0, 500)}`);
    return JSON.parse(text);
  }
}

function firstScheduleId(reply: unknown): string {
  const { subscriptions } = reply as { subscriptions?: readonly { scheduleId?: string }[] };
  const id = subscriptions?.[0]?.scheduleId;
  if (id === undefined) throw new Error("the API did not say which schedule was subscribed to");
  return id;
}
