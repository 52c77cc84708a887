import type { DemoUser } from "./demo-users.ts";
import type { PlaceOfTheWorld } from "./places-of-the-world.ts";

/** The settings of a run's topic, as the API takes them. */
export interface DemoTopic {
  readonly title: string;
  readonly body: string;
  readonly expiresAfterMs: number;
}

type Progress = (done: number, of: number) => void;

const itemsPerRequest = 1000;
const requestsAtOnce = 2;

/** The demo's users come in through the HTTP API, like anybody's. */
export class DemoClient {
  readonly run: string;
  readonly #url: string;
  readonly #topic: string;
  readonly #destination: string;
  readonly #timetable: string;
  readonly #signal: AbortSignal;

  /** @param run tells this run's topic and destination from an earlier one's in the same database */
  constructor(url: string, run: string, signal: AbortSignal) {
    this.run = run;
    this.#url = url;
    this.#topic = `demo-${run}`;
    this.#destination = `receiver-${run}`;
    this.#timetable = `demo-${run}`;
    this.#signal = signal;
  }

  async prepare(receiverUrl: string, batchSize: number, topic: DemoTopic): Promise<void> {
    await this.#post("/v1/destinations", { name: this.#destination, url: receiverUrl, batchSize });
    await this.#post("/v1/topics", { name: this.#topic, ...topic });
  }

  /** @param body as the API takes it, but for its name @returns the name that this run gives it */
  async addDestination(channel: string, body: Readonly<Record<string, unknown>>): Promise<string> {
    const name = `${channel}-${this.run}`;
    await this.#post("/v1/destinations", { name, channel, ...body });
    return name;
  }

  /** Gives places a prayer timetable of this run's own. */
  async timetable(places: readonly PlaceOfTheWorld[], parameters: Readonly<Record<string, unknown>>): Promise<void> {
    await this.#post("/v1/timetables", { name: this.#timetable, kind: "prayer", parameters });
    await this.#post("/v1/places", { places: places.map((place) => ({ ...place, timetable: this.#timetable })) });
  }

  /** Registers an endpoint at the receiver for every user. @returns how long it took */
  register(users: readonly DemoUser[], progress: Progress): Promise<number> {
    return this.registerAt(users, ({ userId }) => ({ userId, destination: this.#destination }), progress);
  }

  /** @param endpointOf as the API takes it */
  async registerAt<T extends DemoUser>(
    users: readonly T[],
    endpointOf: (user: T) => Readonly<Record<string, unknown>>,
    progress: Progress,
  ): Promise<number> {
    const startedAt = performance.now();
    await this.#inChunks(users, progress, (chunk) => this.#post("/v1/endpoints", { endpoints: chunk.map(endpointOf) }));
    return performance.now() - startedAt;
  }

  /**
   * Subscribes every user.
   * @param whenOf says when, as the API takes it
   * @returns the schedules that they share
   */
  async subscribe<T extends DemoUser>(
    users: readonly T[],
    whenOf: (user: T) => Readonly<Record<string, unknown>>,
    progress: Progress,
  ): Promise<readonly string[]> {
    const scheduleIds = new Set<string>();
    await this.#inChunks(users, progress, async (chunk) => {
      const reply = await this.#post("/v1/subscriptions", {
        subscriptions: chunk.map((user) => ({
          userId: user.userId,
          topic: this.#topic,
          zone: user.place.zone,
          ...whenOf(user),
        })),
      });
      for (const id of scheduleIdsOf(reply)) scheduleIds.add(id);
    });
    return [...scheduleIds];
  }

  async #inChunks<T>(
    users: readonly T[],
    progress: Progress,
    send: (chunk: readonly T[]) => Promise<unknown>,
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

function scheduleIdsOf(reply: unknown): string[] {
  const { subscriptions = [] } = reply as { subscriptions?: readonly { scheduleId?: string }[] };
  const ids = subscriptions.flatMap(({ scheduleId }) => scheduleId ?? []);
  if (ids.length === 0) throw new Error("the API did not say which schedule was subscribed to");
  return ids;
}
