import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, statSync } from "node:fs";
import http2 from "node:http2";
import { Agent } from "node:https";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import type { Delivery } from "../../../src/channels/channel.ts";
import { guardedConnector } from "../../../src/channels/egress-guard.ts";
import { AccessTokens } from "../../../src/channels/fcm-token.ts";
import { apnsCollapseId, webPushTopic } from "../../../src/reminder/delivery-id.ts";
import { progress } from "../program.ts";
import { destinationOf } from "./ours.ts";
import { deliveriesOf, inChunks, message, moment, type Sender, type SenderConfig } from "./sender.ts";

const folder = new URL("../peers/", import.meta.url);
const requirePeer = createRequire(new URL("package.json", folder));

/** Installs the peers by their own lock, where they are not yet; nothing of theirs is run for it. */
export async function installPeers(): Promise<void> {
  const installed = new URL("node_modules/.package-lock.json", folder);
  const lock = new URL("package-lock.json", folder);
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return;
  progress("the peers are being installed into scripts/bench/peers");
  const child = spawn("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], {
    cwd: fileURLToPath(folder),
    stdio: ["ignore", "ignore", "inherit"],
  });
  const [code] = await once(child, "exit");
  if (code !== 0) throw new Error("npm ci in scripts/bench/peers has failed");
}

const secondsUntilExpiry = Math.floor((Date.parse(moment.expiresAt) - Date.parse(moment.dueAt)) / 1_000);
/** Strings alone: what FCM's data may be. */
const data = { stream: "7", room: "main", link: message.link ?? "" };

/** The library that a team would take for this channel, in a loop of its own. */
export function startPeer(config: SenderConfig): Promise<Sender> {
  switch (config.channel) {
    case "fcm":
      return startFirebaseAdmin(config);
    case "apns":
      return startNodeApn(config);
    case "web-push":
      return startWebPushLibrary(config);
  }
}

interface FirebaseApp {
  initializeApp(options: {
    readonly projectId: string;
    readonly credential: { getAccessToken(): Promise<{ access_token: string; expires_in: number }> };
  }): unknown;
}
interface FirebaseMessaging {
  getMessaging(): {
    sendEach(messages: readonly object[]): Promise<{
      readonly successCount: number;
      readonly responses: readonly { readonly error?: { readonly message: string } }[];
    }>;
  };
}

/**
 * `sendEach` with as many messages as it takes, some calls at one time. Its host is fixed, so connections to it are led
 * to the fake; and its access token is the fake's, got once and by us, so that this costs it nothing.
 */
async function startFirebaseAdmin({ providers, atOnce }: SenderConfig): Promise<Sender> {
  leadSessionsTo(providers.fcm?.url ?? "");
  const destination = destinationOf("fcm", providers);
  if (destination.channel !== "fcm") throw new Error("not a destination of FCM");
  const policy = { allowLoopback: true, allowPrivate: false };
  const connector = guardedConnector(policy, 3_000, undefined, { ca: providers.ca });
  const authorised = await new AccessTokens(destination, policy, connector).current();
  if (authorised.kind === "refused") throw new Error("no access token");
  const accessToken = authorised.token.bearer.slice("Bearer ".length);

  const { initializeApp }: FirebaseApp = requirePeer("firebase-admin/app");
  const { getMessaging }: FirebaseMessaging = requirePeer("firebase-admin/messaging");
  initializeApp({
    projectId: destination.projectId,
    credential: { getAccessToken: async () => ({ access_token: accessToken, expires_in: 3_600 }) },
  });
  const messaging = getMessaging();
  return inChunks(atOnce, async (deliveries) => {
    const { successCount, responses } = await messaging.sendEach(deliveries.map(firebaseMessage));
    const failed = responses.find(({ error }) => error !== undefined);
    if (failed !== undefined) throw new Error(`firebase-admin: ${failed.error?.message}`);
    return successCount;
  });
}

function firebaseMessage({ address, deliveryId }: Delivery): object {
  return {
    token: address,
    notification: { title: message.title, body: message.body },
    data,
    android: {
      collapseKey: deliveryId,
      priority: "high",
      ttl: secondsUntilExpiry * 1_000,
      notification: { tag: deliveryId, sound: "default" },
    },
    apns: {
      headers: {
        "apns-collapse-id": apnsCollapseId(deliveryId),
        "apns-expiration": String(Math.floor(Date.parse(moment.expiresAt) / 1_000)),
        "apns-priority": "10",
      },
      payload: { aps: { sound: "default" } },
    },
    webpush: {
      headers: { TTL: String(secondsUntilExpiry), Urgency: "high", Topic: webPushTopic(deliveryId) },
      notification: { tag: deliveryId },
      fcmOptions: { link: message.link },
    },
  };
}

interface NodeApn {
  readonly MultiProvider: new (
    options: object,
  ) => {
    send(
      notification: object,
      recipients: readonly string[],
    ): Promise<{ readonly sent: readonly unknown[]; readonly failed: readonly object[] }>;
    shutdown(): void;
  };
  readonly Notification: new (options: object) => object;
}

/**
 * `send` of one notification to a chunk of devices, over some connections. It knows ids by notification and not by
 * device, so that these requests go without any: two headers less than ours.
 */
async function startNodeApn(config: SenderConfig): Promise<Sender> {
  const { providers, atOnce } = config;
  const apn: NodeApn = requirePeer("@parse/node-apn");
  const destination = destinationOf("apns", providers);
  if (destination.channel !== "apns") throw new Error("not a destination of APNs");
  const { teamId, keyId, privateKey, bundleId, url } = destination;
  const provider = new apn.MultiProvider({
    clientCount: atOnce,
    token: { key: privateKey, keyId, teamId },
    address: new URL(url).host,
    port: Number(new URL(url).port),
    ca: providers.ca,
    production: true,
  });
  const sender = inChunks(2, async (deliveries) => {
    const { title, body, sound, link } = message;
    const notification = new apn.Notification({
      alert: { title, body },
      sound,
      payload: { data: message.data, link },
      topic: bundleId,
      pushType: "alert",
      priority: 10,
      expiry: Math.floor(Date.parse(moment.expiresAt) / 1_000),
    });
    const { sent, failed } = await provider.send(
      notification,
      deliveries.map(({ address }) => address),
    );
    if (failed[0] !== undefined) throw new Error(`node-apn: ${JSON.stringify(failed[0])}`);
    return sent.length;
  });
  // It sends on before it has heard how many streams Apple allows, and fails what is refused for that. So each of its
  // connections, which take turns, is given one message by itself first.
  const sentAhead = deliveriesOf(config, { from: 0, users: atOnce });
  for (const delivery of sentAhead) await sender.send([delivery]);
  return { ...sender, sentAhead: sentAhead.length, [Symbol.asyncDispose]: async () => provider.shutdown() };
}

interface WebPushLibrary {
  sendNotification(subscription: object, payload: string, options: object): Promise<{ readonly statusCode: number }>;
}

/** `sendNotification`, as many at one time as there are connections, which an agent keeps alive. */
async function startWebPushLibrary({ providers, atOnce }: SenderConfig): Promise<Sender> {
  const webPush: WebPushLibrary = requirePeer("web-push");
  const destination = destinationOf("web-push", providers);
  if (destination.channel !== "web-push") throw new Error("not a destination of Web Push");
  const { subject, publicKey, privateKey } = destination;
  const agent = new Agent({ keepAlive: true, maxSockets: atOnce, ca: providers.ca });
  return {
    async send(deliveries) {
      let next = 0;
      let accepted = 0;
      async function sendSome(): Promise<void> {
        for (let delivery = deliveries[next]; delivery !== undefined; delivery = deliveries[next]) {
          next += 1;
          const { address, deliveryId } = delivery;
          const payload = JSON.stringify({ ...message, id: deliveryId });
          const { statusCode } = await webPush.sendNotification(JSON.parse(address), payload, {
            vapidDetails: { subject, publicKey, privateKey },
            TTL: secondsUntilExpiry,
            urgency: "high",
            topic: webPushTopic(deliveryId),
            agent,
          });
          if (statusCode === 201) accepted += 1;
        }
      }
      await Promise.all(Array.from({ length: atOnce }, sendSome));
      return accepted;
    },
    async [Symbol.asyncDispose]() {
      agent.destroy();
    },
  };
}

/**
 * For firebase-admin, whose host is fixed: its sessions are made to the fake. It also names its scheme `https:`, which
 * Google's servers pass over and nghttp2, which the fake stands on, refuses (RFC 9113, 8.3.1: no colon).
 */
function leadSessionsTo(url: string): void {
  const { connect } = http2;
  const led = (_: string | URL, options: http2.SecureClientSessionOptions) => {
    const session = connect(url, options);
    const request = session.request.bind(session);
    session.request = (headers, ...rest) => request({ ...headers, ":scheme": "https" }, ...rest);
    return session;
  };
  Object.assign(http2, { connect: led });
}
