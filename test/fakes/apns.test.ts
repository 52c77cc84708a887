import { createPrivateKey, randomUUID } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:tls";
import { SignJWT } from "jose";
import { describe, expect, it } from "vitest";
import { type Apns, createApnsKey, startApns } from "../../src/fakes/apns.ts";
import { apnsAnswerNames } from "../../src/fakes/apns-answers.ts";
import type { ProviderMessage } from "../../src/fakes/provider-server.ts";
import { Http2Client } from "./http2-client.ts";

interface Claims {
  readonly kid?: string;
  readonly iss?: string;
  readonly iat?: number;
  readonly privateKey?: string;
}

function providerToken({ key }: Apns, claims: Claims = {}): Promise<string> {
  return new SignJWT()
    .setProtectedHeader({ alg: "ES256", kid: claims.kid ?? key.keyId })
    .setIssuer(claims.iss ?? key.teamId)
    .setIssuedAt(claims.iat ?? Math.floor(Date.now() / 1_000))
    .sign(createPrivateKey(claims.privateKey ?? key.privateKey));
}

const device = "a".repeat(64);
const payload = JSON.stringify({ aps: { alert: { title: "On air", body: "It begins now" } } });

function headersFor(apns: Apns, token: string) {
  return {
    authorization: `bearer ${token}`,
    "apns-topic": apns.key.bundleId,
    "apns-push-type": "alert",
    "apns-id": randomUUID(),
    "apns-expiration": "1795514416",
    "apns-priority": "10",
    "apns-collapse-id": "c".repeat(64),
  };
}

async function reasonOf(
  client: Http2Client,
  headers: Record<string, string>,
  body: string | Buffer = payload,
  to = device,
) {
  const { status, text } = await client.send({ path: `/3/device/${to}`, headers, body });
  return text === "" ? status : `${status} ${JSON.parse(text).reason}`;
}

describe("APNs", () => {
  it("takes a notification and gives its apns-id back, or makes one", async () => {
    const taken: ProviderMessage[] = [];
    await using apns = await startApns({ onMessage: (given) => taken.push(given) });
    await using client = await Http2Client.connect(apns.url, apns.ca);
    const headers = headersFor(apns, await providerToken(apns));
    const answered = await client.send({ path: `/3/device/${device}`, headers, body: payload });
    expect([answered.status, answered.text, answered.headers["apns-id"]]).toEqual([200, "", headers["apns-id"]]);
    const { "apns-id": _, ...bare } = headers;
    const without = await client.send({ path: "/3/device/any%20token", headers: bare, body: payload });
    expect(without.headers["apns-id"]).toMatch(/^[0-9A-F-]{36}$/);
    expect(taken.map(({ id, address }) => [id, address])).toEqual([
      ["c".repeat(64), device],
      ["c".repeat(64), "any token"],
    ]);
    expect(taken[0]?.payload).toEqual(JSON.parse(payload));
  });

  it("speaks no HTTP/1.1", async () => {
    await using apns = await startApns();
    const socket = connect({ host: "127.0.0.1", port: apns.port, ca: apns.ca, ALPNProtocols: ["http/1.1"] });
    expect((await once(socket, "error"))[0].code).toBe("ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL");
  });

  it("gives a connection one stream until a request of it was authorised", async () => {
    await using apns = await startApns();
    await using client = await Http2Client.connect(apns.url, apns.ca);
    expect(client.session.remoteSettings.maxConcurrentStreams).toBe(1);
    expect(await reasonOf(client, headersFor(apns, "x.y.z"))).toBe("403 InvalidProviderToken");
    expect(client.session.remoteSettings.maxConcurrentStreams).toBe(1);
    const more = once(client.session, "remoteSettings");
    expect(await reasonOf(client, headersFor(apns, await providerToken(apns)))).toBe(200);
    await more;
    expect(client.session.remoteSettings.maxConcurrentStreams).toBe(1_000);
  });

  it("refuses provider tokens that don't hold", async () => {
    await using apns = await startApns();
    await using client = await Http2Client.connect(apns.url, apns.ca);
    const now = Math.floor(Date.now() / 1_000);
    const refused: readonly [Claims, string][] = [
      [{ privateKey: createApnsKey().privateKey }, "403 InvalidProviderToken"],
      [{ kid: "AAAAAAAAAA" }, "403 InvalidProviderToken"],
      [{ iss: "BBBBBBBBBB" }, "403 InvalidProviderToken"],
      [{ iat: now + 600 }, "403 InvalidProviderToken"],
      [{ iat: now - 3_700 }, "403 ExpiredProviderToken"],
    ];
    for (const [claims, reason] of refused) {
      expect(await reasonOf(client, headersFor(apns, await providerToken(apns, claims)))).toBe(reason);
    }
    const { authorization: _, ...anonymous } = headersFor(apns, "");
    expect(await reasonOf(client, anonymous)).toBe("403 MissingProviderToken");
    expect([apns.received, apns.providerTokens]).toEqual([0, 0]);
  });

  it("refuses a connection that changes its provider token too soon, and goes on with the old one", async () => {
    await using apns = await startApns();
    await using client = await Http2Client.connect(apns.url, apns.ca);
    const old = headersFor(apns, await providerToken(apns));
    const next = headersFor(apns, await providerToken(apns, { iat: Math.floor(Date.now() / 1_000) - 5 }));
    expect(await reasonOf(client, old)).toBe(200);
    expect(await reasonOf(client, next)).toBe("429 TooManyProviderTokenUpdates");
    expect(await reasonOf(client, old)).toBe(200);

    await using patient = await startApns({ key: apns.key, tokenUpdateMinMs: 0 });
    await using other = await Http2Client.connect(patient.url, patient.ca);
    expect([await reasonOf(other, old), await reasonOf(other, next)]).toEqual([200, 200]);
    expect(patient.providerTokens).toBe(2);
  });

  it("calls the tokens that it has seen expired from then on, and takes a new one", async () => {
    await using apns = await startApns({ tokenUpdateMinMs: 0 });
    await using client = await Http2Client.connect(apns.url, apns.ca);
    const old = headersFor(apns, await providerToken(apns));
    const next = headersFor(apns, await providerToken(apns, { iat: Math.floor(Date.now() / 1_000) - 5 }));
    expect(await reasonOf(client, old)).toBe(200);
    apns.expireTokens();
    expect(await reasonOf(client, old)).toBe("403 ExpiredProviderToken");
    expect(await reasonOf(client, next)).toBe(200);
  });

  it("refuses requests that are not as documented", async () => {
    await using apns = await startApns();
    await using client = await Http2Client.connect(apns.url, apns.ca);
    const good = headersFor(apns, await providerToken(apns));
    const refused: readonly [Record<string, string>, string][] = [
      [{ "apns-id": "no uuid" }, "400 BadMessageId"],
      [{ "apns-topic": "com.example.other" }, "400 TopicDisallowed"],
      [{ "apns-push-type": "loud" }, "400 InvalidPushType"],
      [{ "apns-expiration": "soon" }, "400 BadExpirationDate"],
      [{ "apns-priority": "7" }, "400 BadPriority"],
      [{ "apns-collapse-id": "c".repeat(65) }, "400 BadCollapseId"],
    ];
    for (const [wrong, reason] of refused) expect(await reasonOf(client, { ...good, ...wrong })).toBe(reason);
    const { "apns-topic": _, ...untitled } = good;
    expect(await reasonOf(client, untitled)).toBe("400 MissingTopic");
    const largest = JSON.stringify({ aps: {}, x: "x".repeat(4_096 - 17) });
    expect([largest.length, await reasonOf(client, good, largest)]).toEqual([4_096, 200]);
    expect(await reasonOf(client, good, `${largest} `)).toBe("413 PayloadTooLarge");
    expect(await reasonOf(client, good, "")).toBe("400 PayloadEmpty");
    expect(await reasonOf(client, good, payload, "")).toBe("400 MissingDeviceToken");
    const get = await client.send({ path: `/3/device/${device}`, method: "GET", headers: good });
    const elsewhere = await client.send({ path: "/4/device/x", headers: good });
    expect([get.status, elsewhere.status]).toEqual([405, 404]);
    expect(apns.received).toBe(1);
  });

  it("gives each documented reason on demand, with a time for tokens that have died", async () => {
    await using apns = await startApns({
      goneSinceMs: 1_795_514_416_000,
      faults: ({ address }) => {
        const answer = apnsAnswerNames.find((name) => name === address);
        return answer === undefined ? "accept" : { answer };
      },
    });
    await using client = await Http2Client.connect(apns.url, apns.ca);
    const headers = headersFor(apns, await providerToken(apns));
    for (const name of apnsAnswerNames) {
      const { status, text, headers: given } = await client.send({ path: `/3/device/${name}`, headers, body: payload });
      expect(given["apns-id"]).toBe(headers["apns-id"]);
      expect(JSON.parse(text)).toEqual(
        status === 410 ? { reason: name, timestamp: 1_795_514_416_000 } : { reason: name },
      );
    }
    expect(apns.answers.get("410 Unregistered")).toBe(1);
    expect(apns.answers.get("429 TooManyRequests")).toBe(1);
    expect(apns.answers.get("503 Shutdown")).toBe(1);
  });
});
