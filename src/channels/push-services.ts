import type { buildConnector } from "undici";
import { Lane, type Source } from "./lane.ts";

export interface PushServicesOptions {
  readonly connector: buildConnector.connector;
  /** requests under way at one time to one push service */
  readonly connectionsPerHost: number;
}

/** Idle ones beyond this are forgotten: under a wildcard of the allow-list anybody can make names up. */
const servicesMax = 256;
/** The big browsers have four between them. */
const servicesWarmed = 8;

/**
 * The push services that subscriptions name, each with connections of its own: one that hangs or is slow never holds up
 * another.
 */
export class PushServices {
  readonly #options: PushServicesOptions;
  /** by origin, the longest unused first */
  readonly #services = new Map<string, PushService>();
  readonly #retired = new Set<Promise<void>>();

  constructor(options: PushServicesOptions) {
    this.#options = options;
  }

  /** @param origin of a checked endpoint: see `checkPushUrl` */
  of(origin: string): PushService {
    const known = this.#services.get(origin);
    if (known === undefined) this.#makeRoom();
    const service = known ?? new PushService(origin, this.#options);
    this.#services.delete(origin);
    this.#services.set(origin, service);
    return service;
  }

  /** Opens connections ahead to those that were used last. */
  async warm(signal: AbortSignal): Promise<void> {
    const lastUsed = [...this.#services.values()].slice(-servicesWarmed);
    await Promise.all(lastUsed.map((service) => service.warm(signal)));
  }

  async close(): Promise<void> {
    await Promise.all([...[...this.#services.values()].map((service) => service.close()), ...this.#retired]);
  }

  #makeRoom(): void {
    if (this.#services.size < servicesMax) return;
    for (const [origin, service] of this.#services) {
      if (service.isBusy) continue;
      this.#services.delete(origin);
      const closing = service.close().finally(() => this.#retired.delete(closing));
      this.#retired.add(closing);
      return;
    }
  }
}

/** The connections to one push service. */
export class PushService {
  readonly origin: string;
  readonly hostname: string;
  readonly #lane: Lane;
  #sources = 0;

  constructor(origin: string, { connector, connectionsPerHost }: PushServicesOptions) {
    const url = new URL(origin);
    this.origin = origin;
    this.hostname = url.hostname;
    this.#lane = new Lane(url, connectionsPerHost, connector);
  }

  get isBusy(): boolean {
    return this.#sources > 0;
  }

  /** Sends what the source has; `left` says that it has nothing more under way here. */
  post(source: Source): void {
    this.#sources += 1;
    this.#lane.post(source);
  }

  left(): void {
    this.#sources -= 1;
  }

  abort(source: Source, error: Error): void {
    this.#lane.abort(source, error);
  }

  warm(signal: AbortSignal): Promise<void> {
    return this.#lane.warm(warmConnections, signal);
  }

  close(): Promise<void> {
    return this.#lane.close();
  }
}

const warmConnections = 4;
