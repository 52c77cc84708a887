import { createHash } from "node:crypto";
import { createApnsChannel } from "../../src/channels/apns.ts";
import type { Channel } from "../../src/channels/channel.ts";
import { createFcmChannel } from "../../src/channels/fcm.ts";
import { createWebPushChannel } from "../../src/channels/web-push.ts";
import { type Apns, type ApnsOptions, startApns } from "../../src/fakes/apns.ts";
import { type Fcm, type FcmOptions, startFcm } from "../../src/fakes/fcm.ts";
import type { ProviderMessage } from "../../src/fakes/provider-server.ts";
import { startWebPush, type WebPush, type WebPushOptions } from "../../src/fakes/web-push.ts";
import { createDestination, type NewDestination } from "../../src/store/destinations.ts";
import type { DeliveryMode } from "../../src/store/topics.ts";
import type { Expected, Receipt } from "./invariants.ts";
import {
  beginStory,
  hurry,
  type Story,
  type StoryNode,
  type StoryPace,
  storyKey,
  storyPace,
  userIds,
} from "./stories.ts";
import { until } from "./world.ts";

/** A provider's fake with the destination that goes there; both have the channel's name. */
export interface Side<Server> extends AsyncDisposable {
  readonly name: string;
  readonly server: Server;
  readonly destination: NewDestination;
  /** what the provider got to see, in order */
  readonly log: readonly SeenMessage[];
  channel(): Channel;
  addressOf(userId: string): string;
  /** the log's addresses */
  userOf(address: string): string;
}
export type AnySide = Pick<Side<unknown>, Exclude<keyof Side<unknown>, "server">>;

export interface SeenMessage {
  readonly message: ProviderMessage;
  /** a device will show it, whatever was answered */
  readonly accepted: boolean;
}

/** A busy machine answers late, and that would be in doubt as well; whoever withholds answers wants less. */
const patientPace: Partial<StoryPace> = { leaseMs: 10_000, sendTimeoutMs: 3_000 };
/** What is tried meanwhile ends in the same way, and each time is recorded. */
const hurryEveryMs = 200;
const policy = { allowLoopback: true };

type Watched<Options> = Omit<Options, "onMessage">;

export async function fcmSide(
  options: Watched<FcmOptions> = {},
  how: { readonly sessionsMax?: number } = {},
): Promise<Side<Fcm>> {
  const log = new SideLog();
  const server = await startFcm({ ...options, onMessage: log.add });
  const { serviceAccount, tokenUrl, url } = server;
  const destination = { ...serviceAccount, channel: "fcm", name: "fcm", url, tokenUrl } as const;
  return side(server, destination, log, () => createFcmChannel({ policy, ca: server.ca, ...how }), String);
}

export async function apnsSide(
  options: Watched<ApnsOptions> = {},
  how: { readonly connectTimeoutMs?: number; readonly nowMs?: () => number } = {},
): Promise<Side<Apns>> {
  const log = new SideLog();
  const server = await startApns({ ...options, onMessage: log.add });
  const destination = { ...server.key, channel: "apns", name: "apns", url: server.url } as const;
  const tokenOf = (userId: string) => createHash("sha256").update(userId).digest("hex");
  return side(server, destination, log, () => createApnsChannel({ policy, ca: server.ca, ...how }), tokenOf);
}

export async function webPushSide(options: Watched<WebPushOptions> = {}): Promise<Side<WebPush>> {
  const log = new SideLog();
  const server = await startWebPush({ ...options, onMessage: log.add });
  const destination = {
    ...server.vapid,
    channel: "web-push",
    name: "web-push",
    url: "",
    subject: "mailto:story@example.com",
  } as const;
  const channel = () => createWebPushChannel({ policy, ca: server.ca, connectionsPerHost: 4 });
  return side(server, destination, log, channel, (userId) => JSON.stringify(server.subscribe(userId)));
}

class SideLog {
  readonly messages: SeenMessage[] = [];
  readonly add = (message: ProviderMessage, accepted: boolean) => void this.messages.push({ message, accepted });
}

function side<Server extends AsyncDisposable>(
  server: Server,
  destination: NewDestination & { readonly channel: string },
  { messages }: SideLog,
  channel: () => Channel,
  address: (userId: string) => string,
): Side<Server> {
  const users = new Map<string, string>();
  return {
    name: destination.name,
    server,
    destination,
    log: messages,
    channel,
    addressOf(userId) {
      const given = address(userId);
      users.set(given, userId);
      return given;
    },
    // a push service knows its users by the end of the endpoint's path
    userOf: (known) => users.get(known) ?? known,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

export interface PushStory extends AsyncDisposable {
  readonly story: Story;
  readonly bucketId: string;
  readonly users: readonly string[];
  /** what all sides got to see */
  readonly receipts: readonly Receipt[];
  /** another node takes over from the one there is: it has not found out anything about the sides */
  replaceNode(): Promise<void>;
  /**
   * Resolves when the bucket is closed.
   *
   * @param patiently false (default): what was put off is tried soon, again and again
   */
  whenClosed(patiently?: boolean): Promise<void>;
  /** The engine's invariants, and that each user's result is the expected one; default: delivered. */
  check(resultOf?: (userId: string) => Expected["users"][number]["result"]): Promise<void>;
}

export interface PushStoryOptions {
  /** of each side; default 200 */
  readonly users?: number;
  readonly mode?: DeliveryMode;
  readonly pace?: Partial<StoryPace>;
  /** how far ahead the moment is, when users begin to be subscribed; default 2,500 */
  readonly aheadMs?: number;
  readonly expiresAfterMs?: number;
}

/** So many users at each side, all due at one instant, and a node that sends to them. */
export async function beginPushStory(
  sides: readonly AnySide[],
  {
    users: count = 200,
    mode = "at_least_once",
    pace: given = {},
    aheadMs = 2_500,
    expiresAfterMs = 600_000,
  }: PushStoryOptions = {},
): Promise<PushStory> {
  const pace = { ...patientPace, ...given };
  await using stack = new AsyncDisposableStack();
  const channels: Channel[] = [];
  stack.defer(async () => void (await Promise.all(channels.map((channel) => channel.close()))));
  const story = stack.use(await beginStory());
  for (const { destination } of sides) await createDestination(story.db, destination, storyKey);
  await story.topic("live", { deliveryMode: mode, expiresAfterMs });
  const at = await story.instantIn(aheadMs);
  const users: string[] = [];
  let scheduleId = "";
  for (const { name, addressOf } of sides) {
    const ids = userIds(count, name);
    users.push(...ids);
    const saved = await story.subscribe("live", at, ids, (userId) => [
      { channel: name, destination: name, address: addressOf(userId) },
    ]);
    scheduleId = saved[0]?.scheduleId ?? scheduleId;
  }
  async function startNode(): Promise<StoryNode> {
    const own = sides.map(({ channel }) => channel());
    channels.push(...own);
    return story.startNode({ channels: own, pace });
  }
  let node = await startNode();
  const bucketId = await story.bucketOf(scheduleId);
  const receipts = () =>
    sides
      .flatMap(({ log, userOf }) => log.map((seen) => receiptOf(seen, userOf, bucketId, Date.parse(at))))
      .toSorted((one, other) => one.receivedAtMs - other.receivedAtMs);
  const resources = stack.move();

  return {
    story,
    bucketId,
    users,
    get receipts() {
      return receipts();
    },
    async replaceNode() {
      await node.stop();
      node = await startNode();
    },
    async whenClosed(patiently = false) {
      let hurriedAtMs = Number.NEGATIVE_INFINITY;
      await until(
        async () => {
          if (!patiently && performance.now() - hurriedAtMs > hurryEveryMs) {
            await hurry(story);
            hurriedAtMs = performance.now();
          }
          const { closed } = await story.one<{ closed: boolean }>(
            "select closed_at is not null as closed from carillon.time_buckets where bucket_id = $1",
            [bucketId],
          );
          return closed;
        },
        "the moment is over",
        80_000 + users.length * 2 + Math.max(0, Date.parse(at) - Date.now()),
      );
    },
    check: (resultOf = () => "delivered") =>
      story.check({
        receiverLog: receipts(),
        mode,
        window: pace.window ?? storyPace.window,
        otherFaults: true,
        expected: { bucketId, users: users.map((user) => ({ user, result: resultOf(user) })) },
      }),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

function receiptOf(
  { message, accepted }: SeenMessage,
  userOf: (address: string) => string,
  bucket: string,
  dueAtMs: number,
): Receipt {
  const { id, address, receivedAtMs } = message;
  const user = userOf(address);
  return { id, user, bucket, group: 0, node: "", attempt: 0, receivedAtMs, dueAtMs, refused: !accepted };
}
