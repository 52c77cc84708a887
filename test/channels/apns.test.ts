import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { exportJWK, importJWK, jwtVerify } from "jose";
import { describe, expect, it } from "vitest";
import { type ApnsChannelOptions, createApnsChannel } from "../../src/channels/apns.ts";
import { apnsReasons } from "../../src/channels/apns-reply.ts";
import type { ApnsDestination, Delivery, Message } from "../../src/channels/channel.ts";
import type { Reply } from "../../src/channels/lane.ts";
import { type ApnsAnswer, type ApnsRequest, type ApnsServer, startApnsServer } from "./apns-server.ts";
import { deliveriesTo, sendAll, someMoment } from "./conformance.ts";

const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
const privateKey = pair.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
const device = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0";
const minutes = (count: number) => count * 60_000;
const accept: ApnsAnswer = { status: 200 };

function destinationAt(url: string, more: Partial<ApnsDestination> = {}): ApnsDestination {
  return {
    channel: "apns",
    destinationId: 1,
    name: "app",
    url,
    teamId: "TEAM123456",
    keyId: "KEY1234567",
    privateKey,
    bundleId: "com.example.live",
    ...more,
  };
}

function channelTo(server: ApnsServer, options: Partial<ApnsChannelOptions> = {}) {
  const channel = createApnsChannel({ policy: { allowLoopback: true }, ca: server.ca, ...options });
  return Object.assign(channel, { [Symbol.asyncDispose]: () => channel.close() });
}

const users = (count: number): Delivery[] => deliveriesTo(...Array.from({ length: count }, (_, at) => `${at}a`));
const tokenOf = ({ headers }: ApnsRequest) => String(headers.authorization).replace(/^bearer /, "");
const kinds = (outcomes: readonly ({ readonly kind: string } | undefined)[]) => new Set(outcomes.map((o) => o?.kind));

describe("docs/channels/apns.md", () => {
  const page = readFileSync(new URL("../../docs/channels/apns.md", import.meta.url), "utf8");
  const block = (language: string) => new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\`$`, "m").exec(page)?.[1] ?? "";

  it("shows the request as it is sent", async () => {
    await using server = await startApnsServer(() => accept);
    await using channel = channelTo(server);
    const said = JSON.parse(block("json"));
    const { title, body } = said.aps.alert;
    const { data, link, image } = said;
    const message: Message = { title, body, data, link, image, sound: said.aps.sound };
    const [plain] = deliveriesTo(device);
    if (plain === undefined) return;
    const delivery = { ...plain, deliveryId: "d_8vBRXe2-HMnyt1UYq916Ow_42_1", message };
    await sendAll(channel, destinationAt(server.url), [delivery]);
    const [request] = server.requests;
    expect(JSON.parse(request?.body ?? "")).toEqual(said);
    const [first = "", ...rest] = block("http").trimEnd().split("\n");
    expect(first).toBe(`POST ${request?.path}`);
    const shown = Object.fromEntries(rest.map((line) => line.split(": ")));
    expect(request?.headers).toMatchObject({ ...shown, authorization: expect.stringMatching(/^bearer eyJhbGciOi/) });
    const sent = Object.keys(request?.headers ?? {}).filter((name) => !name.startsWith(":"));
    expect(sent.toSorted()).toEqual([...Object.keys(shown), "content-length"].toSorted());
  });

  it("lists what each reason comes to", () => {
    const rows = [...page.matchAll(/^\| (accepted|gone|rejected|auth|retry|in doubt) \| (.*?) \|/gm)];
    const listed = rows.flatMap(([, kind = "", reasons = ""]) =>
      [...reasons.matchAll(/`(\w+)`/g)].map(([, reason = ""]) => [reason, kind.replace(" ", "_")]),
    );
    expect(Object.fromEntries(listed)).toEqual(apnsReasons);
  });
});

describe("the APNs channel", () => {
  it("authorises with a token that Apple can verify, the same for apps of one team and key", async () => {
    await using server = await startApnsServer(() => accept);
    await using channel = channelTo(server);
    await sendAll(channel, destinationAt(server.url), users(20));
    const other = destinationAt(server.url, { destinationId: 2, bundleId: "com.example.other" });
    await sendAll(channel, other, users(1));
    const tokens = new Set(server.requests.map(tokenOf));
    expect(tokens.size).toBe(1);
    expect(new Set(server.requests.map(({ headers }) => headers["apns-topic"]))).toEqual(
      new Set(["com.example.live", "com.example.other"]),
    );
    const key = await importJWK(await exportJWK(pair.publicKey), "ES256");
    const { payload } = await jwtVerify([...tokens][0] ?? "", key, { issuer: "TEAM123456" });
    expect(payload.iat).toBeTypeOf("number");
  });

  it("makes one request at a time until the first is answered, then many", async () => {
    await using server = await startApnsServer(() => accept);
    await using channel = channelTo(server, { sessionsMax: 1 });
    const { outcomes } = await sendAll(channel, destinationAt(server.url), users(200));
    expect(kinds(outcomes)).toEqual(new Set(["accepted"]));
    expect(server.requests[0]?.streams).toBe(1);
    expect(Math.max(...server.requests.map(({ streams }) => streams))).toBeGreaterThan(20);
    expect(server.sessions).toBe(1);
  });

  it("tells Apple by when, how urgently and as what", async () => {
    await using server = await startApnsServer(() => accept);
    await using channel = channelTo(server);
    const moment = { ...someMoment, priority: "normal", expiresAt: "2026-11-24T18:10:00.999Z" } as const;
    await sendAll(channel, destinationAt(server.url), users(1), { moment });
    expect(server.requests[0]?.headers).toMatchObject({
      "apns-priority": "5",
      "apns-expiration": String(Date.parse("2026-11-24T18:10:00Z") / 1_000),
      "apns-push-type": "alert",
    });
  });

  it("sends a repeat under the same ids", async () => {
    await using server = await startApnsServer(() => accept);
    await using channel = channelTo(server);
    const [first] = users(1);
    if (first === undefined) return;
    await sendAll(channel, destinationAt(server.url), [first]);
    await sendAll(channel, destinationAt(server.url), [{ ...first, attempt: 1 }]);
    const ids = server.requests.map(({ headers }) => `${headers["apns-id"]} ${headers["apns-collapse-id"]}`);
    expect(ids).toHaveLength(2);
    expect(new Set(ids).size).toBe(1);
  });

  it("rejects what is too long for Apple without a request, and sends the rest", async () => {
    await using server = await startApnsServer(() => accept);
    await using channel = channelTo(server);
    const [one, two] = users(2);
    if (one === undefined || two === undefined) return;
    const long = { ...one, message: { ...one.message, body: "€".repeat(1_400) } };
    const { outcomes } = await sendAll(channel, destinationAt(server.url), [long, two]);
    expect(outcomes[0]).toMatchObject({ kind: "rejected", reason: expect.stringMatching(/4096 at most/) });
    expect(outcomes[1]?.kind).toBe("accepted");
    expect(server.requests).toHaveLength(1);
  });

  it("lets no address out of its path", async () => {
    await using server = await startApnsServer(() => accept);
    await using channel = channelTo(server);
    await sendAll(channel, destinationAt(server.url), deliveriesTo("../../4/x?y#z"));
    expect(server.requests[0]?.path).toBe("/3/device/..%2F..%2F4%2Fx%3Fy%23z");
  });

  it.each([
    ["BadDeviceToken", /^BadDeviceToken, .*environment/],
    ["DeviceTokenNotForTopic", /^DeviceTokenNotForTopic, .*bundle id/],
  ])("takes %s for the destination's fault until something was accepted", async (reason, why) => {
    const refusal: ApnsAnswer = { status: 400, body: { reason } };
    await using server = await startApnsServer(({ path }) => (path.endsWith("/alive") ? accept : refusal));
    await using channel = channelTo(server);
    const destination = destinationAt(server.url);
    const answerTo = async (address: string, to = destination) =>
      (await sendAll(channel, to, deliveriesTo(address))).outcomes[0];
    expect(await answerTo("dead")).toEqual({ kind: "auth", reason: expect.stringMatching(why), status: 400 });
    expect(await answerTo("alive")).toEqual({ kind: "accepted" });
    expect(await answerTo("dead")).toEqual({ kind: "gone", reason, status: 400 });
    // set up otherwise it has yet to show that
    for (const other of [{ bundleId: "com.example.other" }, { destinationId: 2 }, { keyId: "KEY7654321" }]) {
      expect(await answerTo("dead", { ...destination, ...other })).toMatchObject({ kind: "auth" });
    }
  });

  it("takes 410 for what it says, also before anything was accepted", async () => {
    await using server = await startApnsServer(() => ({ status: 410, body: { reason: "Unregistered" } }));
    await using channel = channelTo(server);
    const { outcomes } = await sendAll(channel, destinationAt(server.url), users(1));
    expect(outcomes[0]).toMatchObject({ kind: "gone", reason: "Unregistered" });
  });

  it("does not reach a server that no trusted authority vouches for", async () => {
    await using server = await startApnsServer(() => accept);
    await using channel = channelTo(server, { ca: undefined });
    const { outcomes } = await sendAll(channel, destinationAt(server.url), users(3));
    expect(kinds(outcomes)).toEqual(new Set(["retry"]));
    expect(server.requests).toHaveLength(0);
  });

  it("calls a key that can't sign what it is, without a word of it", async () => {
    await using server = await startApnsServer(() => accept);
    await using channel = channelTo(server);
    const { outcomes, settled } = await sendAll(channel, destinationAt(server.url, { privateKey: "sesame" }), users(3));
    expect(kinds(outcomes)).toEqual(new Set(["auth"]));
    expect(settled).toEqual([1, 1, 1]);
    expect(JSON.stringify(outcomes)).not.toContain("sesame");
    expect(server.requests).toHaveLength(0);
  });

  it("opens nothing at an address that is not allowed", async () => {
    await using server = await startApnsServer(() => accept);
    await using channel = channelTo(server, { policy: { allowLoopback: false } });
    const { outcomes } = await sendAll(channel, destinationAt(server.url), users(2));
    expect(kinds(outcomes)).toEqual(new Set(["rejected"]));
    expect(server.sessions).toBe(0);
  });

  it("moves to connections of its own when the key changes: Apple binds one to the key that it saw first", async () => {
    await using server = await startApnsServer(() => accept);
    await using channel = channelTo(server, { sessionsMax: 1 });
    await sendAll(channel, destinationAt(server.url), users(2));
    await sendAll(channel, destinationAt(server.url, { bundleId: "com.example.renamed" }), users(2));
    expect(server.sessions).toBe(1);
    await sendAll(channel, destinationAt(server.url, { keyId: "KEY7654321" }), users(2));
    expect(server.sessions).toBe(2);
    expect(new Set(server.requests.map(tokenOf)).size).toBe(2);
  });

  it("tells its observer every answer", async () => {
    await using server = await startApnsServer(() => ({ status: 400, body: { reason: "BadPriority" } }));
    const replies: Reply[] = [];
    await using channel = channelTo(server, { onReply: (reply) => void replies.push(reply) });
    await sendAll(channel, destinationAt(server.url), users(1));
    expect(replies.map(({ status, body }) => [status, body.toString()])).toEqual([[400, '{"reason":"BadPriority"}']]);
  });
});

describe("a provider token that has expired", () => {
  const expired: ApnsAnswer = { status: 403, body: { reason: "ExpiredProviderToken" } };

  /** A server that has had enough of the first token that it sees, once told so. */
  async function setup() {
    const clock = { ms: Date.parse("2026-11-24T18:00:00Z") };
    const refused = new Set<string>();
    const server = await startApnsServer((request) => (refused.has(tokenOf(request)) ? expired : accept));
    const channel = channelTo(server, { nowMs: () => clock.ms, monotonic: () => clock.ms });
    const refuseAllSoFar = () => {
      for (const request of server.requests) refused.add(tokenOf(request));
    };
    return { server, channel, clock, refuseAllSoFar };
  }

  it("is replaced once, and each request made once more, with nobody settled twice", async () => {
    const { server, channel, clock, refuseAllSoFar } = await setup();
    await using _server = server;
    await using _channel = channel;
    await sendAll(channel, destinationAt(server.url), users(1));
    refuseAllSoFar();
    clock.ms += minutes(25);
    const { outcomes, settled } = await sendAll(channel, destinationAt(server.url), users(100));
    expect(kinds(outcomes)).toEqual(new Set(["accepted"]));
    expect(settled.every((times) => times === 1)).toBe(true);
    expect(new Set(server.requests.map(tokenOf)).size).toBe(2);
    const accepted = server.requests
      .slice(1)
      .filter((request) => tokenOf(request) !== tokenOf(server.requests[0] ?? request));
    expect(accepted).toHaveLength(100);
  });

  it("is not replaced while it is young: a wrong clock is why, and that is said", async () => {
    const { server, channel, clock, refuseAllSoFar } = await setup();
    await using _server = server;
    await using _channel = channel;
    await sendAll(channel, destinationAt(server.url), users(1));
    refuseAllSoFar();
    clock.ms += minutes(19);
    const { outcomes, settled } = await sendAll(channel, destinationAt(server.url), users(5));
    expect(kinds(outcomes)).toEqual(new Set(["auth"]));
    expect(outcomes[0]).toMatchObject({ reason: expect.stringMatching(/clock/), status: 403 });
    expect(settled).toEqual([1, 1, 1, 1, 1]);
    expect(new Set(server.requests.map(tokenOf)).size).toBe(1);
  });

  it("is asked about once only: a new one that is refused as well is an answer", async () => {
    const clock = { ms: 0 };
    await using server = await startApnsServer(() => expired);
    await using channel = channelTo(server, { nowMs: () => clock.ms, monotonic: () => clock.ms });
    await channel.warm(destinationAt(server.url), new AbortController().signal);
    clock.ms += minutes(25);
    const { outcomes } = await sendAll(channel, destinationAt(server.url), users(1));
    expect(outcomes).toEqual([{ kind: "auth", reason: "ExpiredProviderToken", status: 403 }]);
    expect(server.requests).toHaveLength(2);
  });

  it("is replaced after 40 minutes before Apple minds", async () => {
    const { server, channel, clock } = await setup();
    await using _server = server;
    await using _channel = channel;
    for (const wait of [0, 39, 1]) {
      clock.ms += minutes(wait);
      await sendAll(channel, destinationAt(server.url), users(1));
    }
    const [first, second, third] = server.requests.map(tokenOf);
    expect(second).toBe(first);
    expect(third).not.toBe(first);
  });
});

describe("streams that Apple does not serve", () => {
  /** Every request that it takes gets 200, but for those that the test counts out. */
  const sendTo = async (count: number, answerTo: (asked: number) => ApnsAnswer) => {
    let asked = 0;
    await using server = await startApnsServer(() => {
      asked += 1;
      return answerTo(asked);
    });
    await using channel = channelTo(server, { sessionsMax: 1 });
    const destination = destinationAt(server.url);
    const first = await sendAll(channel, destination, users(count));
    expect(first.settled.every((times) => times === 1)).toBe(true);
    const again = await sendAll(channel, destination, users(1));
    expect(again.outcomes[0]?.kind).toBe("accepted");
    const of = (kind: string) => first.outcomes.filter((outcome) => outcome?.kind === kind);
    return { of, taken: server.requests.length - 1, sessions: server.sessions };
  };

  it("were certainly not taken where it refuses them", async () => {
    const { of } = await sendTo(100, (asked) => (asked % 10 === 0 ? "refuse" : accept));
    expect(of("retry")).toHaveLength(10);
    expect(of("retry")[0]).toEqual({ kind: "retry", reason: "not sent: stream reset: REFUSED_STREAM", heard: true });
    expect(of("accepted")).toHaveLength(90);
  });

  it("are told apart by the last one of a GOAWAY, and a new connection takes over", async () => {
    const { of, taken, sessions } = await sendTo(300, (asked) => (asked === 50 ? "goaway" : accept));
    expect(of("in_doubt")).toEqual([]);
    expect(of("accepted")).toHaveLength(taken);
    expect(of("accepted").length + of("retry").length).toBe(300);
    expect(of("retry").length).toBeGreaterThan(0);
    expect(of("retry").every((outcome) => outcome?.kind === "retry" && outcome.heard)).toBe(true);
    expect(sessions).toBe(2);
  });
});

describe("a look at a destination at Apple's", () => {
  const look = async (answer: ApnsAnswer, more: Partial<ApnsDestination> = {}) => {
    await using server = await startApnsServer(() => answer);
    await using channel = channelTo(server);
    const probe = await channel.probe?.(destinationAt(server.url, more), AbortSignal.timeout(5_000));
    return { probe, requests: server.requests };
  };

  it("is well when Apple says no more than that there is no such device", async () => {
    const { probe, requests } = await look({ status: 400, body: { reason: "BadDeviceToken" } });
    expect(probe?.well).toBe(true);
    expect(requests).toHaveLength(1);
    expect(requests[0]?.path).toBe(`/3/device/${"0".repeat(64)}`);
  });

  it.each([
    [403, "InvalidProviderToken", /team id, key id/],
    [400, "TopicDisallowed", /bundle id/],
    [403, "BadEnvironmentKeyIdInToken", /other environment/],
    [503, "ServiceUnavailable", /reach Apple/],
  ])("says what to do about %i %s", async (status, reason, toDo) => {
    const { probe } = await look({ status, body: { reason } });
    expect(probe).toMatchObject({ well: false, toDo: expect.stringMatching(toDo) });
  });

  it("names no secret where the key is none", async () => {
    const { probe } = await look(accept, { privateKey: "sesame" });
    expect(probe).toMatchObject({ well: false, toDo: expect.stringMatching(/\.p8/) });
    expect(JSON.stringify(probe)).not.toContain("sesame");
  });
});
