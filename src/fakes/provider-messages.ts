import type { ApnsKey } from "./apns.ts";
import type { ApnsAnswer } from "./apns-answers.ts";
import type { ServiceAccount } from "./fcm.ts";
import type { FcmAnswer } from "./fcm-answers.ts";
import type { ScheduledFault } from "./provider-fault.ts";
import type { Door } from "./provider-sockets.ts";
import type { PushReceivers } from "./push-subscriptions.ts";
import type { ProviderChannel } from "./receiver-log.ts";
import type { VapidKeys } from "./web-push.ts";
import type { WebPushAnswer } from "./web-push-answers.ts";

/** Faults travel as data, a schedule for each provider. */
export interface ProviderFaults {
  readonly fcm?: readonly ScheduledFault<FcmAnswer>[];
  readonly apns?: readonly ScheduledFault<ApnsAnswer>[];
  readonly "web-push"?: readonly ScheduledFault<WebPushAnswer>[];
}

/** How provider-process.ts is set up: its one argument, as JSON. */
export interface ProviderProcessConfig {
  readonly channels: readonly ProviderChannel[];
  /** default 127.0.0.1 */
  readonly host?: string;
  /** default 0 for each: any free one */
  readonly ports?: Partial<Record<ProviderChannel, number>>;
  /** append-only, one line a message, of all providers together */
  readonly logFile?: string;
  /** where the authority's certificate is written, PEM: what CARILLON_CA_FILE is to name */
  readonly caFile?: string;
  readonly faults?: ProviderFaults;
  readonly delayMs?: number;
  readonly maxConcurrentStreams?: number;
  /** see FcmOptions */
  readonly tokenLifetimeSeconds?: number;
  /** see WebPushOptions */
  readonly decryptEvery?: number;
  /** say `reached` when so many messages are recorded */
  readonly notifyAt?: number;
}

/** Where the providers are, and credentials that they take. */
export interface ProvidersReady {
  /** PEM */
  readonly ca: string;
  readonly fcm: { readonly url: string; readonly tokenUrl: string; readonly serviceAccount: ServiceAccount } | null;
  readonly apns: { readonly url: string; readonly key: ApnsKey } | null;
  readonly webPush: { readonly url: string; readonly vapid: VapidKeys; readonly receivers: PushReceivers } | null;
}

/** What each provider answered how often. */
export type AnswerCounts = Partial<Record<ProviderChannel, Readonly<Record<string, number>>>>;

/** What the process says to its parent. */
export type FromProviders =
  | { readonly kind: "ready"; readonly ready: ProvidersReady }
  /** every 100 ms while it changes, and before it ends */
  | { readonly kind: "progress"; readonly received: number; readonly answers: AnswerCounts }
  | { readonly kind: "reached"; readonly count: number; readonly atMs: number }
  /** an order has been carried out */
  | { readonly kind: "done"; readonly order: number };

/** What a provider can be told while it runs. */
export type ProviderOrder =
  | { readonly kind: "faults"; readonly faults: ProviderFaults }
  | { readonly kind: "door"; readonly channel: ProviderChannel; readonly door: Door }
  | { readonly kind: "streams"; readonly channel: ProviderChannel; readonly maxConcurrentStreams: number }
  | { readonly kind: "go_away"; readonly channel: ProviderChannel; readonly code?: number; readonly debugData?: string }
  /** FCM: all tokens handed out until now are answered 401 */
  | { readonly kind: "revoke_tokens" };

/** What the parent may say to it. */
export type ToProviders =
  | { readonly kind: "order"; readonly order: number; readonly what: ProviderOrder }
  | { readonly kind: "notify_at"; readonly count: number }
  | { readonly kind: "stop" };
