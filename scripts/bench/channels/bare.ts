import { type ClientHttp2Session, connect } from "node:http2";
import { apnsPayload } from "../../../src/channels/apns-body.ts";
import { ProviderTokens } from "../../../src/channels/apns-token.ts";
import type { Delivery } from "../../../src/channels/channel.ts";
import { guardedConnector } from "../../../src/channels/egress-guard.ts";
import { fcmBodies } from "../../../src/channels/fcm-body.ts";
import { AccessTokens } from "../../../src/channels/fcm-token.ts";
import { createVapid } from "../../../src/channels/vapid.ts";
import { encryptPush } from "../../../src/channels/web-push-encryption.ts";
import { pushPayload } from "../../../src/channels/web-push-payload.ts";
import { checkPushSubscription } from "../../../src/channels/web-push-subscription.ts";
import { apnsCollapseId, apnsId, webPushTopic } from "../../../src/reminder/delivery-id.ts";
import { destinationOf } from "./ours.ts";
import { RawConnection } from "./raw-flood.ts";
import { deliveriesOf, moment, type Sender, type SenderConfig, underWay } from "./sender.ts";

/** One request, ready to be written. */
interface Request {
  /** pseudo headers and all, names and values in turn */
  readonly headers: string[];
  readonly body: Buffer;
}

/** Makes the requests of a run, as they are asked for. */
interface Maker {
  /** gets what requests are authorised by; asked once a run */
  renew(): Promise<void>;
  make(delivery: Delivery): Request;
}

const policy = { allowLoopback: true, allowPrivate: false };
const secondsUntilExpiry = Math.floor((Date.parse(moment.expiresAt) - Date.parse(moment.dueAt)) / 1_000);

/**
 * As little as can be done: as many streams as may be on each of some connections, the next request as soon as one is
 * answered. No timeouts, no order, no telling apart of what failed how: anything but a 2xx ends it.
 */
export async function startBare(config: SenderConfig): Promise<Sender> {
  return loop(config, makerOf(config));
}

/** Under way at one time on a connection: what leaves its window of 64 KiB some room. */
const floodStreams = 25;

/** One request, made once, as fast as the fake can answer it. */
export async function startFlood(config: SenderConfig): Promise<Sender> {
  const maker = makerOf(config);
  await maker.renew();
  const [delivery] = deliveriesOf(config, { from: 0, users: 1 });
  if (delivery === undefined) throw new Error("no delivery");
  const { headers, body } = maker.make(delivery);
  const { atOnce, providers } = config;
  const url = urlOf(config);
  const opening = Array.from({ length: atOnce }, () => RawConnection.open(url, providers.ca, headers, body));
  const connections = await Promise.all(opening);
  return {
    sentAhead: connections.length,
    async send({ length }) {
      const each = connections.map((_, at) => Math.floor((length + at) / connections.length));
      await Promise.all(connections.map((connection, at) => connection.send(each[at] ?? 0, floodStreams)));
      return length;
    },
    async [Symbol.asyncDispose]() {
      for (const connection of connections) connection.close();
    },
  };
}

/** Encrypts and signs what the channel sends, and sends nothing. */
export async function startEncryption({ providers }: SenderConfig): Promise<Sender> {
  const destination = destinationOf("web-push", providers);
  if (destination.channel !== "web-push") throw new Error("not a destination of Web Push");
  const vapid = createVapid(destination, destination.subject);
  const origin = new URL(providers.webPush?.url ?? "").origin;
  return {
    async send(deliveries) {
      let bytes = 0;
      for (const { address, message, deliveryId } of deliveries) {
        const { keys }: { keys: { p256dh: string; auth: string } } = JSON.parse(address);
        const receiver = {
          publicKey: Buffer.from(keys.p256dh, "base64url"),
          auth: Buffer.from(keys.auth, "base64url"),
        };
        const body = encryptPush(receiver, pushPayload(message, deliveryId));
        bytes += body.length + vapid.authorization(origin, Date.now()).length;
      }
      return bytes > 0 ? deliveries.length : 0;
    },
    async [Symbol.asyncDispose]() {},
  };
}

function urlOf({ channel, providers }: SenderConfig): string {
  return { fcm: providers.fcm, apns: providers.apns, "web-push": providers.webPush }[channel]?.url ?? "";
}

async function loop(config: SenderConfig, maker: Maker): Promise<Sender> {
  const { providers, channel, atOnce } = config;
  const url = urlOf(config);
  const sessions = await Promise.all(Array.from({ length: atOnce }, () => open(url, providers.ca)));
  return {
    async send(deliveries) {
      await maker.renew();
      await new Promise<void>((resolve, reject) => {
        let next = 0;
        let answered = 0;
        const sendNext = (session: ClientHttp2Session) => {
          const delivery = deliveries[next];
          if (delivery === undefined) return;
          next += 1;
          const { headers, body } = maker.make(delivery);
          const stream = session.request(headers, { endStream: false });
          stream.on("response", ({ ":status": status = 0 }) => {
            if (status < 200 || status > 299) reject(new Error(`answered ${status}`));
          });
          stream.on("error", reject);
          stream.on("end", () => {
            answered += 1;
            if (answered === deliveries.length) resolve();
            sendNext(session);
          });
          stream.resume();
          stream.end(body);
        };
        const each = Math.floor(underWay / sessions.length);
        for (const session of sessions) {
          const { maxConcurrentStreams = each } = session.remoteSettings;
          // APNs allows one stream until the first is authorised: what is above it waits in Node, and for one answer.
          const streams = channel === "apns" ? each : Math.min(each, maxConcurrentStreams);
          for (let begun = 0; begun < streams; begun += 1) sendNext(session);
        }
      });
      return deliveries.length;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(sessions.map((session) => new Promise<void>((resolve) => session.close(resolve))));
    },
  };
}

function open(url: string, ca: string): Promise<ClientHttp2Session> {
  const session = connect(url, { ca });
  return new Promise((resolve, reject) => {
    session.once("error", reject);
    session.once("remoteSettings", () => resolve(session));
  });
}

function makerOf({ channel, providers }: SenderConfig): Maker {
  const destination = destinationOf(channel, providers);
  switch (destination.channel) {
    case "fcm": {
      const { url, projectId } = destination;
      const trust = { ca: providers.ca };
      const tokens = new AccessTokens(destination, policy, guardedConnector(policy, 3_000, undefined, trust));
      const fixed = [...pseudo(url, `/v1/projects/${projectId}/messages:send`), "content-type", "application/json"];
      let bearer = "";
      let bodies = fcmBodies(moment, Date.now());
      return {
        async renew() {
          const authorised = await tokens.current();
          if (authorised.kind === "refused") throw new Error("no access token");
          bearer = authorised.token.bearer;
          bodies = fcmBodies(moment, Date.now());
        },
        make(delivery) {
          const body = bodies.body(delivery);
          return { headers: [...fixed, "authorization", bearer, "content-length", String(body.length)], body };
        },
      };
    }
    case "apns": {
      const { url, bundleId } = destination;
      const tokens = new ProviderTokens(destination);
      const expiration = String(Math.floor(Date.parse(moment.expiresAt) / 1_000));
      const fixed = ["apns-topic", bundleId, "apns-push-type", "alert", "apns-priority", "10"];
      let bearer = "";
      return {
        async renew() {
          bearer = `bearer ${(await tokens.current()).jwt}`;
        },
        make({ address, deliveryId, message }) {
          const body = apnsPayload(message);
          const headers = [
            ...pseudo(url, `/3/device/${address}`),
            ...fixed,
            ...["apns-expiration", expiration, "authorization", bearer],
            ...["apns-id", apnsId(deliveryId), "apns-collapse-id", apnsCollapseId(deliveryId)],
            ...["content-length", String(body.length)],
          ];
          return { headers, body };
        },
      };
    }
    case "web-push": {
      const vapid = createVapid(destination, destination.subject);
      return {
        async renew() {},
        make({ address, deliveryId, message }) {
          const { endpoint, ...receiver } = checkPushSubscription(address, policy);
          const body = encryptPush(receiver, pushPayload(message, deliveryId));
          const headers = [
            ...pseudo(endpoint.origin, endpoint.pathname),
            ...["content-type", "application/octet-stream", "content-encoding", "aes128gcm"],
            ...["urgency", "high", "authorization", vapid.authorization(endpoint.origin, Date.now())],
            ...["ttl", String(secondsUntilExpiry), "topic", webPushTopic(deliveryId)],
            ...["content-length", String(body.length)],
          ];
          return { headers, body };
        },
      };
    }
    case "webhook":
      throw new Error("webhooks are not measured here");
  }
}

function pseudo(url: string, path: string): string[] {
  return [":method", "POST", ":scheme", "https", ":authority", new URL(url).host, ":path", path];
}
