import { createPrivateKey } from "node:crypto";
import { Agent } from "node:https";
import { SignJWT } from "jose";
import { afterEach, describe, expect, it } from "vitest";
import webPush from "web-push";
import type { ProviderMessage } from "../../src/fakes/provider-server.ts";
import { PushDecryption } from "../../src/fakes/push-decryption.ts";
import { createVapidKeys, startWebPush, type WebPush } from "../../src/fakes/web-push.ts";
import { webPushAnswerNames } from "../../src/fakes/web-push-answers.ts";
import { Http2Client } from "./http2-client.ts";

const subject = "mailto:ops@example.com";
const agents: Agent[] = [];
afterEach(() => {
  for (const agent of agents.splice(0)) agent.destroy();
});

/** The web-push package: an independent sender. */
async function sendByPackage(push: WebPush, user: string, text: string, options: webPush.RequestOptions = {}) {
  const agent = new Agent({ ca: push.ca });
  agents.push(agent);
  return await webPush
    .sendNotification(push.subscribe(user), text, {
      vapidDetails: { subject, ...push.vapid },
      TTL: 600,
      agent,
      ...options,
    })
    .catch((error: webPush.WebPushError) => error);
}

/** A request of the package, to be sent by node:http2 with changes. */
function requestTo(push: WebPush, user: string, vapid = push.vapid) {
  const { endpoint, headers, body } = webPush.generateRequestDetails(push.subscribe(user), "hello", {
    vapidDetails: { subject, ...vapid },
    TTL: 600,
  });
  const lower = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)]);
  // the body may be changed
  const given: Record<string, string> = Object.fromEntries(lower.filter(([name]) => name !== "content-length"));
  return { path: new URL(endpoint).pathname, headers: given, body: body ?? Buffer.alloc(0) };
}

interface Claims {
  readonly aud?: string;
  readonly sub?: string;
  readonly lifetimeSeconds?: number;
}

async function vapidToken(push: WebPush, { aud = push.url, sub = subject, lifetimeSeconds = 3_600 }: Claims) {
  const bytes = Buffer.from(push.vapid.publicKey, "base64url");
  const key = createPrivateKey({
    format: "jwk",
    key: {
      kty: "EC",
      crv: "P-256",
      x: bytes.subarray(1, 33).toString("base64url"),
      y: bytes.subarray(33).toString("base64url"),
      d: push.vapid.privateKey,
    },
  });
  const token = await new SignJWT({ aud, sub, exp: Math.floor(Date.now() / 1_000) + lifetimeSeconds })
    .setProtectedHeader({ alg: "ES256", typ: "JWT" })
    .sign(key);
  return `vapid t=${token}, k=${push.vapid.publicKey}`;
}

describe("decryption of push messages", () => {
  it("reads the example of RFC 8291", () => {
    const decryption = new PushDecryption(Buffer.from("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94", "base64url"));
    const body = Buffer.from(
      "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN",
      "base64url",
    );
    const auth = Buffer.from("BTBZMqHH6r4Tts7J_aSIgg", "base64url");
    expect(decryption.decrypt(body, auth)?.toString()).toBe("When I grow up, I want to be a watermelon");
    const changed = Buffer.from(body);
    changed[100] = (changed[100] ?? 0) ^ 1;
    expect(decryption.decrypt(changed, auth)).toBeNull();
    expect(decryption.decrypt(body.subarray(0, 90), auth)).toBeNull();
    expect(decryption.decrypt(Buffer.alloc(0), auth)).toBeNull();
  });
});

describe("the push service", () => {
  it("takes what the web-push package sends, and decrypts it", async () => {
    const taken: ProviderMessage[] = [];
    await using push = await startWebPush({ onMessage: (given) => taken.push(given) });
    const sent = await sendByPackage(push, "Zoë / 1", '{"title":"On air"}', { topic: "t".repeat(32), urgency: "high" });
    expect([sent.statusCode, sent.headers.ttl]).toEqual([201, "600"]);
    expect(sent.headers.location).toMatch(/^https:.*\/message\/1$/);
    expect((await sendByPackage(push, "u-2", "no JSON")).statusCode).toBe(201);
    expect(taken.map(({ id, address, payload }) => [id, address, payload])).toEqual([
      ["t".repeat(32), "Zoë / 1", { title: "On air" }],
      ["", "u-2", "no JSON"],
    ]);
    expect(push.answers.get("201")).toBe(2);
  });

  it("takes the same over HTTP/2", async () => {
    await using push = await startWebPush();
    await using client = await Http2Client.connect(push.url, push.ca);
    expect((await client.send(requestTo(push, "u-1"))).status).toBe(201);
  });

  it("refuses what was encrypted for another, or changed on its way", async () => {
    await using push = await startWebPush();
    await using client = await Http2Client.connect(push.url, push.ca);
    const { body, ...others } = requestTo(push, "u-1");
    const { path } = requestTo(push, "u-2");
    expect((await client.send({ ...others, path, body })).status).toBe(400);
    const { path: own } = others;
    const changed = Buffer.concat([body.subarray(0, -1), Buffer.from([(body.at(-1) ?? 0) ^ 1])]);
    expect((await client.send({ ...others, path: own, body: changed })).status).toBe(400);
    expect([push.undecryptable, push.received]).toEqual([2, 0]);
  });

  it("refuses VAPID that is missing, foreign, for another origin or too long-lived", async () => {
    await using push = await startWebPush();
    await using client = await Http2Client.connect(push.url, push.ca);
    const good = requestTo(push, "u-1");
    const { authorization: _, ...anonymous } = good.headers;
    const missing = await client.send({ ...good, headers: anonymous });
    expect([missing.status, missing.headers["www-authenticate"]]).toEqual([401, "vapid"]);

    const foreign = createVapidKeys();
    expect((await client.send(requestTo(push, "u-1", foreign))).status).toBe(403);
    const { publicKey } = push.vapid;
    // signed by another key than it names
    const forged = requestTo(push, "u-1", foreign).headers.authorization?.replace(/k=.*/, `k=${publicKey}`) ?? "";
    const withToken = async (authorization: string) =>
      JSON.parse((await client.send({ ...good, headers: { ...good.headers, authorization } })).text);
    expect(await withToken(forged)).toMatchObject({ code: 403, message: "the signature does not hold" });

    const refused: readonly [Claims, RegExp][] = [
      [{ aud: "https://elsewhere.example" }, /^aud/],
      [{ lifetimeSeconds: 25 * 3_600 }, /24 hours/],
      [{ lifetimeSeconds: -1 }, /past/],
      [{ sub: "ops@example.com" }, /^sub/],
    ];
    for (const [claims, why] of refused) {
      expect((await withToken(await vapidToken(push, claims))).message).toMatch(why);
    }
    const authorization = await vapidToken(push, {});
    expect((await client.send({ ...good, headers: { ...good.headers, authorization } })).status).toBe(201);
    expect(push.answers.get("403 BadVapid")).toBe(2 + refused.length);
  });

  it("refuses requests that are not as RFC 8030 has them", async () => {
    await using push = await startWebPush();
    await using client = await Http2Client.connect(push.url, push.ca);
    const good = requestTo(push, "u-1");
    const refused: readonly [Record<string, string>, RegExp][] = [
      [{ ttl: "soon" }, /^TTL/],
      [{ "content-encoding": "aesgcm" }, /content-encoding/],
      [{ topic: "t".repeat(33) }, /^Topic/],
      [{ topic: "a b" }, /^Topic/],
      [{ urgency: "loud" }, /^Urgency/],
    ];
    for (const [wrong, why] of refused) {
      const { status, text } = await client.send({ ...good, headers: { ...good.headers, ...wrong } });
      expect(status).toBe(400);
      expect(JSON.parse(text).message).toMatch(why);
    }
    const { ttl: _, ...timeless } = good.headers;
    expect((await client.send({ ...good, headers: timeless })).status).toBe(400);
    expect((await client.send({ ...good, body: Buffer.alloc(4_097) })).status).toBe(413);
    expect((await client.send({ ...good, path: "/push/" })).status).toBe(404);
    expect((await client.send({ ...good, method: "GET", body: "" })).status).toBe(405);
  });

  it("gives each answer on demand", async () => {
    await using push = await startWebPush({
      faults: ({ address }) => {
        const answer = webPushAnswerNames.find((name) => name === address);
        return answer === undefined ? "accept" : { answer, retryAfter: "3" };
      },
    });
    const statuses: number[] = [];
    for (const name of webPushAnswerNames) {
      const { statusCode, headers } = await sendByPackage(push, name, "x");
      statuses.push(statusCode);
      expect(headers["retry-after"]).toBe("3");
    }
    expect(statuses).toEqual([400, 401, 403, 404, 405, 410, 413, 429, 500, 503]);
  });
});
