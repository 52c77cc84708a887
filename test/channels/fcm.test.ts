import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Delivery, FcmDestination, Message } from "../../src/channels/channel.ts";
import { createFcmChannel, type FcmChannelOptions } from "../../src/channels/fcm.ts";
import { fcmBodies } from "../../src/channels/fcm-body.ts";
import { fcmErrorCodes, fcmOutcome } from "../../src/channels/fcm-reply.ts";
import type { Ending } from "../../src/channels/lane.ts";
import { createServiceAccount, type Fcm, type FcmOptions, startFcm } from "../../src/fakes/fcm.ts";
import { fcmAnswer, grantRefused } from "../../src/fakes/fcm-answers.ts";
import { deliveriesTo, sendAll, someMessage, someMoment } from "./conformance.ts";

const serviceAccount = createServiceAccount();
const device = "cE7pQ:APA91bH";
const users = (count: number): Delivery[] =>
  deliveriesTo(...Array.from({ length: count }, (_, at) => `${device}${at}`));

function destinationAt({ url, tokenUrl }: Fcm, more: Partial<FcmDestination> = {}): FcmDestination {
  return { channel: "fcm", destinationId: 1, name: "app", url, tokenUrl, ...serviceAccount, ...more };
}

function channelTo(google: Fcm, options: Partial<FcmChannelOptions> = {}) {
  const channel = createFcmChannel({ policy: { allowLoopback: true }, ca: google.ca, ...options });
  return Object.assign(channel, { [Symbol.asyncDispose]: () => channel.close() });
}

const start = (options: FcmOptions = {}) => startFcm({ serviceAccount, ...options });
const kinds = (outcomes: readonly ({ readonly kind: string } | undefined)[]) => [
  ...new Set(outcomes.map((outcome) => outcome?.kind)),
];

describe("docs/channels/fcm.md", () => {
  const page = readFileSync(new URL("../../docs/channels/fcm.md", import.meta.url), "utf8");

  it("shows the body as it is sent", () => {
    const shown = JSON.parse(/^```json\n([\s\S]*?)^```$/m.exec(page)?.[1] ?? "");
    const message: Message = {
      title: "On air",
      body: "It begins now",
      image: "https://example.com/live.png",
      sound: "bell",
      link: "https://example.com/live/7",
      data: { stream: 7, guests: ["Ada", "Bob"] },
    };
    const [plain] = deliveriesTo(device);
    if (plain === undefined) throw new Error("no delivery");
    const expiresAt = new Date(1_795_543_800_000).toISOString();
    const { body } = fcmBodies({ ...someMoment, expiresAt }, 1_795_543_200_000);
    const sent = body({ ...plain, deliveryId: "d_8vBRXe2-HMnyt1UYq916Ow_42_1", message });
    expect(JSON.parse(sent.toString())).toEqual(shown);
  });

  it("lists what each code comes to", () => {
    const rows = [...page.matchAll(/^\| (gone|rejected|auth|retry|in doubt) \| (.*?) \|/gm)];
    const listed = rows.flatMap(([, kind = "", codes = ""]) =>
      [...codes.matchAll(/`(\w+)`/g)].map(([, code = ""]) => [code, kind.replace(" ", "_")]),
    );
    expect(Object.fromEntries(listed)).toEqual(fcmErrorCodes);
  });
});

describe("a body", () => {
  const bodyOf = (message: Partial<Message>, more: Partial<typeof someMoment> = {}, address = device) => {
    const [delivery] = deliveriesTo(address);
    if (delivery === undefined) throw new Error("no delivery");
    const bodies = fcmBodies({ ...someMoment, ...more }, Date.parse(someMoment.dueAt));
    return JSON.parse(bodies.body({ ...delivery, message: { ...someMessage, ...message } }).toString()).message;
  };

  it.each<[string, unknown, Record<string, string> | undefined]>([
    ["nothing", null, undefined],
    ["strings as they are", { a: "x", b: '"y"' }, { a: "x", b: '"y"' }],
    [
      "other values as JSON",
      { n: 7, t: true, o: { p: [1] }, z: null },
      { n: "7", t: "true", o: '{"p":[1]}', z: "null" },
    ],
    ["what has no names under data", [1, 2], { data: "[1,2]" }],
    ["a bare string under data", "x", { data: "x" }],
    ["a name that objects have anyhow", JSON.parse('{"__proto__":"x"}'), JSON.parse('{"__proto__":"x"}')],
  ])("has as data %s", (_, data, expected) => {
    expect(bodyOf({ data, link: null }).data).toEqual(expected);
  });

  it("says for how long, four weeks at most and nothing at the least", () => {
    const at = (expiresAt: string) => bodyOf({}, { expiresAt });
    expect(at("2026-11-24T18:00:07.900Z").android.ttl).toBe("7s");
    expect(at("2027-11-24T18:00:00.000Z").android.ttl).toBe("2419200s");
    expect(at("2026-11-24T17:00:00.000Z").android.ttl).toBe("0s");
    expect(at("2026-11-24T18:00:07.900Z").webpush.headers.TTL).toBe("7");
  });

  it("is not at a loss for tokens and texts with quotes, backslashes and dollars", () => {
    const odd = 'a"b\\c$1$&\u2028';
    const { token, notification, android } = bodyOf({ title: odd, body: odd }, {}, odd);
    expect([token, notification.title, notification.body]).toEqual([odd, odd, odd]);
    expect(android.collapse_key).toBe(android.notification.tag);
  });

  it("leaves out what the message does not have, and hands browsers no link that FCM refuses", () => {
    const bare = bodyOf({ title: "", image: null, sound: null, link: "app://live/7", data: null });
    expect(bare.notification).toEqual({ body: someMessage.body });
    expect(bare.webpush.fcm_options).toBeUndefined();
    expect(bare.data).toEqual({ link: "app://live/7" });
    expect(bare.apns.payload).toEqual({ aps: {} });
    expect(bodyOf({}, { priority: "normal" }).android.priority).toBe("NORMAL");
  });
});

describe("an answer", () => {
  const answered = (status: number, body: unknown, retryAfter?: string): Ending => ({
    kind: "answered",
    reply: {
      status,
      retryAfter,
      date: undefined,
      body: Buffer.from(typeof body === "string" ? body : JSON.stringify(body)),
      whole: true,
      cutShort: "",
    },
  });
  const error = (message: string, ...details: object[]) => ({
    error: { code: 400, status: "INVALID_ARGUMENT", message, details },
  });
  const fcmError = { "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", errorCode: "INVALID_ARGUMENT" };
  const violation = (...fields: string[]) => ({
    "@type": "type.googleapis.com/google.rpc.BadRequest",
    fieldViolations: fields.map((field) => ({ field, description: "The registration token and more" })),
  });
  const notAToken = "The registration token is not a valid FCM registration token";

  it.each<[string, string, Ending]>([
    ["gone", "a bad token, told by FCM's sentence", answered(400, error(notAToken, fcmError))],
    ["gone", "a bad token, told by the field", answered(400, error(notAToken, fcmError, violation("message.token")))],
    ["rejected", "a bad message", answered(400, error("Invalid value", violation("message.data[0].value")))],
    ["rejected", "a message too big", answered(400, error("Android message is too big", fcmError))],
    [
      "rejected",
      "a bad message beside the token",
      answered(400, error(notAToken, fcmError, violation("message.token", "message.android.ttl"))),
    ],
    ["rejected", "400 without a word", answered(400, "")],
    ["rejected", "a sentence about tokens without FCM's code", answered(400, error(notAToken))],
    ["rejected", "a 404 that is not about a token", answered(404, { error: { code: 404, status: "NOT_FOUND" } })],
    ["auth", "a page that is not FCM's", answered(404, "<html>404</html>")],
    ["auth", "401 without a body", answered(401, "")],
    ["auth", "403 of some gateway", answered(403, "<html>")],
    ["rejected", "a redirect", answered(302, "")],
    ["rejected", "413", answered(413, "")],
    ["in_doubt", "502 of some gateway", answered(502, "<html>")],
    [
      "in_doubt",
      "a failure that calls itself unregistered",
      answered(500, { error: { details: [{ ...fcmError, errorCode: "UNREGISTERED" }] } }),
    ],
    ["rejected", "an error of an odd form", answered(400, '{"error":{"details":[null,7,{"@type":1}],"message":[]}}')],
  ])("is %s: %s", (kind, _, ending) => {
    expect(fcmOutcome(ending, 0).kind).toBe(kind);
  });

  it("to too many has its wait, or a minute", () => {
    const { status, body = "" } = fcmAnswer("QUOTA_EXCEEDED");
    expect(fcmOutcome(answered(status, String(body), "7"), 0)).toMatchObject({ kind: "retry", retryAfterMs: 7_000 });
    expect(fcmOutcome(answered(status, String(body)), 0)).toMatchObject({ kind: "retry", retryAfterMs: 60_000 });
    expect(fcmOutcome(answered(429, ""), 0)).toMatchObject({ kind: "retry", retryAfterMs: 60_000 });
  });

  it("tells neither token nor text", () => {
    const secret = "cSECRET:APA91bSECRET";
    const { kind, ...rest } = fcmOutcome(
      answered(400, error(`Invalid value at 'message.token', "${secret}"`, fcmError)),
      0,
    );
    expect(kind).toBe("rejected");
    expect(JSON.stringify(rest)).not.toContain("SECRET");
  });
});

describe("the FCM channel", () => {
  it("makes of every documented answer what its page says, over the wire", async () => {
    const expected = {
      UNREGISTERED: "gone",
      INVALID_TOKEN: "gone",
      INVALID_ARGUMENT: "rejected",
      SENDER_ID_MISMATCH: "auth",
      PERMISSION_DENIED: "auth",
      THIRD_PARTY_AUTH_ERROR: "auth",
      QUOTA_EXCEEDED: "retry",
      UNAVAILABLE: "in_doubt",
      INTERNAL: "in_doubt",
    } as const;
    const names = Object.keys(expected) as (keyof typeof expected)[];
    await using google = await start({
      faults: ({ address }) => {
        const name = names.find((each) => each === address);
        return name === undefined ? "accept" : { answer: name };
      },
    });
    await using channel = channelTo(google);
    const { outcomes } = await sendAll(channel, destinationAt(google), deliveriesTo(...names));
    expect(Object.fromEntries(names.map((name, at) => [name, outcomes[at]?.kind]))).toEqual(expected);
    // A 401 about the project's other keys is no reason for a new access token.
    expect(google.tokensGiven).toBe(1);
  });

  it("rejects a message that is too long without asking", async () => {
    await using google = await start();
    await using channel = channelTo(google);
    const [first, second] = users(2);
    if (first === undefined || second === undefined) throw new Error("no deliveries");
    const long = { ...first, message: { ...someMessage, body: "ü".repeat(2_100) } };
    const { outcomes } = await sendAll(channel, destinationAt(google), [long, second]);
    expect(outcomes.map((outcome) => outcome?.kind)).toEqual(["rejected", "accepted"]);
    expect(google.received).toBe(1);
  });

  it("tells streams that FCM refuses from those that it cuts off", async () => {
    await using google = await start({
      faults: ({ address }) => {
        if (address.endsWith("3")) return { resetStream: 7 };
        return address.endsWith("5") ? { resetStream: 2, accepts: true } : "accept";
      },
    });
    await using channel = channelTo(google);
    const { outcomes, settled } = await sendAll(channel, destinationAt(google), users(40));
    expect(settled.every((times) => times === 1)).toBe(true);
    expect(outcomes[23]).toMatchObject({
      kind: "retry",
      reason: "not sent: stream reset: REFUSED_STREAM",
      heard: true,
    });
    expect(outcomes[25]).toMatchObject({ kind: "in_doubt", reason: "no reply: stream reset: INTERNAL_ERROR" });
    const accepted = outcomes.filter((outcome) => outcome?.kind === "accepted");
    expect(accepted).toHaveLength(32);
  });

  it("is probed without sending", async () => {
    await using google = await start();
    await using channel = channelTo(google);
    const signal = new AbortController().signal;
    expect(await channel.probe?.(destinationAt(google), signal)).toMatchObject({ well: true });
    expect(google.received).toBe(0);
    const foreign = createServiceAccount("other");
    const wrong = await channel.probe?.(destinationAt(google, foreign), signal);
    expect(wrong).toMatchObject({ well: false, found: "refused: no access token: invalid_grant" });
  });

  it("rejects what the guard refuses, at FCM's URL and at the token's", async () => {
    await using google = await start();
    for (const more of [{ url: "https://10.0.0.1" }, { tokenUrl: "https://169.254.169.254/token" }]) {
      await using channel = channelTo(google);
      const { outcomes } = await sendAll(channel, destinationAt(google, more), users(2));
      expect(kinds(outcomes)).toEqual(["rejected"]);
    }
    expect(google.received).toBe(0);
  });
});

describe("access tokens", () => {
  it("serve all that is sent under one account, and are asked for once", async () => {
    await using google = await start();
    await using channel = channelTo(google);
    const sends = Array.from({ length: 10 }, () => sendAll(channel, destinationAt(google), users(20)));
    for (const { outcomes } of await Promise.all(sends)) expect(kinds(outcomes)).toEqual(["accepted"]);
    await sendAll(channel, destinationAt(google), users(5));
    expect(google.tokensGiven).toBe(1);
  });

  it("that were revoked are renewed once, and every request made again", async () => {
    await using google = await start();
    await using channel = channelTo(google);
    await sendAll(channel, destinationAt(google), users(1));
    google.revokeTokens();
    const { outcomes, settled } = await sendAll(channel, destinationAt(google), users(150));
    expect(kinds(outcomes)).toEqual(["accepted"]);
    expect(settled.every((times) => times === 1)).toBe(true);
    expect(google.received).toBe(151);
    expect(google.tokensGiven).toBe(2);
  });

  it("that are refused although they are new are the account's fault", async () => {
    await using google = await start({ faults: () => ({ answer: "UNAUTHENTICATED" }) });
    await using channel = channelTo(google);
    const { outcomes } = await sendAll(channel, destinationAt(google), users(3));
    expect(outcomes).toEqual(new Array(3).fill({ kind: "auth", reason: "UNAUTHENTICATED", status: 401 }));
    expect(google.received).toBe(6);
  });

  it("are renewed ahead of their end, while they still serve", async () => {
    let nowMs = 1_000_000;
    await using google = await start();
    await using channel = channelTo(google, { monotonic: () => nowMs });
    await sendAll(channel, destinationAt(google), users(1));
    nowMs += 3_600_000 - 6 * 60_000;
    await sendAll(channel, destinationAt(google), users(1));
    expect(google.tokensGiven).toBe(1);
    nowMs += 2 * 60_000;
    // The request that finds the token due for renewal does not wait for it.
    const { outcomes } = await sendAll(channel, destinationAt(google), users(1));
    expect(kinds(outcomes)).toEqual(["accepted"]);
    await expect.poll(() => google.tokensGiven).toBe(2);
    await sendAll(channel, destinationAt(google), users(1));
    expect(google.tokensGiven).toBe(2);
  });

  it("that have run out meanwhile are not used", async () => {
    let nowMs = 1_000_000;
    await using google = await start();
    await using channel = channelTo(google, { monotonic: () => nowMs });
    await sendAll(channel, destinationAt(google), users(1));
    nowMs += 3_600_000;
    let requests = 0;
    await using counting = channelTo(google, { monotonic: () => nowMs, onReply: () => (requests += 1) });
    await sendAll(counting, destinationAt(google), users(1));
    expect(requests).toBe(1);
    await sendAll(channel, destinationAt(google), users(1));
    expect(google.tokensGiven).toBe(3);
  });

  it.each([
    ["auth", "no access token: invalid_grant", grantRefused("invalid_grant", "Invalid JWT Signature.")],
    ["auth", "no access token: answered 403", { status: 403 }],
    ["retry", "no access token: answered 503", { status: 503 }],
    ["retry", "no access token: answered 429", { status: 429 }],
    ["retry", "no access token: the answer holds none", { status: 200, body: "{}" }],
  ] as const)("that can't be had are %s: %s", async (kind, reason, fault) => {
    await using google = await start({ tokenFault: () => fault });
    await using channel = channelTo(google);
    const { outcomes } = await sendAll(channel, destinationAt(google), users(3));
    expect(outcomes).toEqual(new Array(3).fill({ kind, reason }));
    expect(google.received).toBe(0);
  });

  it("that nobody gives are retry, and a key that is none is auth", async () => {
    await using google = await start();
    await using channel = channelTo(google);
    const nobody = destinationAt(google, { tokenUrl: "https://127.0.0.1:1/token" });
    const { outcomes } = await sendAll(channel, nobody, users(2));
    expect(outcomes).toEqual(new Array(2).fill({ kind: "retry", reason: "no access token: ECONNREFUSED" }));
    const keyless = await sendAll(channel, destinationAt(google, { privateKey: "no key" }), users(1));
    expect(keyless.outcomes[0]?.kind).toBe("auth");
    expect(JSON.stringify(keyless.outcomes)).not.toContain('no key"');
  });

  it("are not waited for after an abort", async () => {
    const asked = Promise.withResolvers<void>();
    const silent = await start({
      tokenFault: () => {
        asked.resolve();
        return null;
      },
    });
    await using google = silent;
    await using channel = channelTo(google);
    const abort = new AbortController();
    const sending = sendAll(channel, destinationAt(google), users(3), { signal: abort.signal });
    await asked.promise;
    abort.abort();
    const { outcomes, settled } = await sending;
    expect(kinds(outcomes)).toEqual(["retry"]);
    expect(settled).toEqual([1, 1, 1]);
  });
});
