import type { buildConnector } from "undici";
import type { OnReply, WebhookDestination } from "./channel.ts";
import { checkUrl, type EgressPolicy } from "./egress-guard.ts";
import { Lane } from "./lane.ts";
import type { WebhookRoute } from "./webhook-sending.ts";
import { signer } from "./webhook-signature.ts";

/** What is kept of a destination while its URL and secrets stay the same. */
interface Receiver extends WebhookRoute {
  readonly url: string;
  readonly secrets: string;
}

/** The receivers that are sent to, each with connections of its own. */
export class WebhookReceivers {
  readonly #policy: EgressPolicy;
  readonly #connections: number;
  readonly #connector: buildConnector.connector;
  readonly #onReply: OnReply | undefined;
  readonly #receivers = new Map<number, Receiver>();
  readonly #retired = new Set<Promise<void>>();

  /**
   * @param connections to each of them, at most
   * @param connector a guarded one
   */
  constructor(
    policy: EgressPolicy,
    connections: number,
    connector: buildConnector.connector,
    onReply: OnReply | undefined,
  ) {
    this.#policy = policy;
    this.#connections = connections;
    this.#connector = connector;
    this.#onReply = onReply;
  }

  /** @throws hostile_url */
  of(destination: WebhookDestination): WebhookRoute {
    const { destinationId, url } = destination;
    const known = this.#receivers.get(destinationId);
    const secrets = destination.secrets.join(" ");
    if (known?.url === url && known.secrets === secrets) return known;
    const sameUrl = known !== undefined && known.url === url;
    const lane = sameUrl ? known.lane : new Lane(checkUrl(url, this.#policy), this.#connections, this.#connector);
    if (known !== undefined && !sameUrl) this.#retire(known.lane);
    const receiver = { url, secrets, lane, sign: signer(destination.secrets), onReply: this.#onReply };
    this.#receivers.set(destinationId, receiver);
    return receiver;
  }

  /** Lets what is under way end. */
  async close(): Promise<void> {
    await Promise.all([...[...this.#receivers.values()].map(({ lane }) => lane.close()), ...this.#retired]);
  }

  #retire(lane: Lane): void {
    const closing = lane.close().finally(() => this.#retired.delete(closing));
    this.#retired.add(closing);
  }
}
