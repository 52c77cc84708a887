import type { buildConnector } from "undici";
import { Http2Lane } from "./http2-lane.ts";
import { saysNoHttp2 } from "./http2-session.ts";
import { type Ending, Lane, type Source } from "./lane.ts";

export interface PushServicesOptions {
  /** offers HTTP/2 first */
  readonly http2: buildConnector.connector;
  /** HTTP/1.1 only */
  readonly http1: buildConnector.connector;
  /** HTTP/2 connections at one time to one push service */
  readonly sessionsPerHost: number;
  /** the same of HTTP/1.1, with one request at a time on each */
  readonly connectionsPerHost: number;
}

/** Idle ones beyond this are forgotten: under a wildcard of the allow-list anybody can make names up. */
const servicesMax = 256;
/** The big browsers have four between them. */
const servicesWarmed = 8;
const connectionsWarmed = 4;

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

/** The connections to one push service: HTTP/2 where it speaks that, else HTTP/1.1. */
export class PushService {
  readonly origin: string;
  readonly hostname: string;
  readonly #options: PushServicesOptions;
  readonly #retired: Promise<void>[] = [];
  #lane: Http2Lane | Lane;
  #sources = 0;

  constructor(origin: string, options: PushServicesOptions) {
    const url = new URL(origin);
    this.origin = origin;
    this.hostname = url.hostname;
    this.#options = options;
    // Without TLS there is nothing to agree on HTTP/2 by; such push services are for development only.
    this.#lane = url.protocol === "https:" ? this.#http2Lane() : this.#http1Lane();
  }

  get isBusy(): boolean {
    return this.#sources > 0;
  }

  /** A source will post here, once or more. */
  entered(): void {
    this.#sources += 1;
  }

  /** Sends what the source has. */
  post(source: Source): void {
    this.#lane.post(source);
  }

  /** It has nothing more under way here. */
  left(): void {
    this.#sources -= 1;
  }

  /**
   * Goes over to HTTP/1.1 where the push service turned out to speak nothing else, and posts anew what could not be sent
   * for that.
   *
   * @returns false: that was not why the source was given up
   */
  postsAnew(source: Source, ending: Ending): boolean {
    if (ending.kind !== "unsent" || !saysNoHttp2(ending.error)) return false;
    if (this.#lane instanceof Http2Lane) {
      this.#retired.push(this.#lane.close());
      this.#lane = this.#http1Lane();
    }
    this.#lane.post(source);
    return true;
  }

  abort(source: Source, error: Error): void {
    this.#lane.abort(source, error);
  }

  warm(signal: AbortSignal): Promise<void> {
    return this.#lane.warm(this.#lane instanceof Http2Lane ? 1 : connectionsWarmed, signal);
  }

  async close(): Promise<void> {
    await Promise.all([this.#lane.close(), ...this.#retired]);
  }

  #http2Lane(): Http2Lane {
    const { sessionsPerHost, http2 } = this.#options;
    // What differs in each request, and would push out of HPACK's table what does not.
    return new Http2Lane(new URL(this.origin), { sessionsMax: sessionsPerHost, neverIndexed: ["topic"] }, http2);
  }

  #http1Lane(): Lane {
    return new Lane(new URL(this.origin), this.#options.connectionsPerHost, this.#options.http1);
  }
}
