import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { SignJWT } from "jose";
import { describe, expect, it } from "vitest";
import { createServiceAccount, type Fcm, type FcmOptions, startFcm } from "../../src/fakes/fcm.ts";
import { fcmAnswer, fcmAnswerNames } from "../../src/fakes/fcm-answers.ts";
import type { ProviderMessage } from "../../src/fakes/provider-server.ts";
import { Http2Client } from "./http2-client.ts";

// RSA keys take a while to make
const serviceAccount = createServiceAccount("tests");
const start = (options: FcmOptions = {}) => startFcm({ serviceAccount, ...options });

interface Claims {
  readonly iss?: string;
  readonly aud?: string;
  readonly scope?: string;
  readonly iat?: number;
  readonly lifetimeSeconds?: number;
  readonly privateKey?: string;
}

async function askForToken(client: Http2Client, fcm: Fcm, claims: Claims = {}) {
  const { iat = Math.floor(Date.now() / 1_000), lifetimeSeconds = 3_600 } = claims;
  const assertion = await new SignJWT({ scope: claims.scope ?? "https://www.googleapis.com/auth/firebase.messaging" })
    .setProtectedHeader({ alg: "RS256" })
    .setIssuer(claims.iss ?? serviceAccount.clientEmail)
    .setAudience(claims.aud ?? fcm.tokenUrl)
    .setIssuedAt(iat)
    .setExpirationTime(iat + lifetimeSeconds)
    .sign(createPrivateKey(claims.privateKey ?? serviceAccount.privateKey));
  const form = new URLSearchParams({ grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer", assertion });
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  const { status, text } = await client.send({ path: "/token", headers, body: form.toString() });
  return { status, body: JSON.parse(text) };
}

async function connected(fcm: Fcm) {
  const client = await Http2Client.connect(fcm.url, fcm.ca);
  let { access_token: token } = (await askForToken(client, fcm)).body;
  return {
    client,
    setToken: (next: string) => {
      token = next;
    },
    async send(
      message: unknown,
      { projectId = "tests", validateOnly }: { projectId?: string; validateOnly?: boolean } = {},
    ) {
      const { status, text, headers } = await client.send({
        path: `/v1/projects/${projectId}/messages:send`,
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: JSON.stringify({ message, validate_only: validateOnly }),
      });
      return { status, headers, body: JSON.parse(text) };
    },
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  };
}

const message = {
  token: "device-1",
  notification: { title: "On air", body: "It begins now" },
  data: { stream: "7" },
  android: { ttl: "600s", priority: "high", notification: { tag: "d_x_1_1" } },
};

describe("FCM's token endpoint", () => {
  it("gives a token for an assertion that the service account's key signed", async () => {
    await using fcm = await start();
    await using client = await Http2Client.connect(fcm.url, fcm.ca);
    expect(await askForToken(client, fcm)).toEqual({
      status: 200,
      body: { access_token: expect.stringMatching(/^ya29\./), expires_in: 3_600, token_type: "Bearer" },
    });
    expect(fcm.tokensGiven).toBe(1);
  });

  it("refuses what is wrong with an assertion", async () => {
    await using fcm = await start();
    await using client = await Http2Client.connect(fcm.url, fcm.ca);
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2_048 });
    const foreign = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    const past = Math.floor(Date.now() / 1_000) - 7_200;
    const refused: readonly [Claims, string, RegExp][] = [
      [{ privateKey: foreign }, "invalid_grant", /Signature/],
      [{ iss: "someone@else.example" }, "invalid_grant", /account not found/],
      [{ aud: "https://elsewhere.example/token" }, "invalid_grant", /audience/],
      [{ iat: past }, "invalid_grant", /short-lived/],
      [{ lifetimeSeconds: 7_200 }, "invalid_grant", /short-lived/],
      [{ scope: "https://www.googleapis.com/auth/drive" }, "invalid_scope", /scope/],
    ];
    for (const [claims, error, description] of refused) {
      const { status, body } = await askForToken(client, fcm, claims);
      expect([status, body.error]).toEqual([400, error]);
      expect(body.error_description).toMatch(description);
    }
    const bare = await client.send({ path: "/token", body: "grant_type=password" });
    expect(JSON.parse(bare.text).error).toBe("unsupported_grant_type");
    expect(fcm.tokensGiven).toBe(0);
  });

  it("fails as it is told to", async () => {
    await using fcm = await start({ tokenFault: () => ({ status: 503, body: "{}" }) });
    await using client = await Http2Client.connect(fcm.url, fcm.ca);
    expect((await askForToken(client, fcm)).status).toBe(503);
  });
});

describe("FCM", () => {
  it("takes a message, names it, and knows it by its tag", async () => {
    const taken: ProviderMessage[] = [];
    await using fcm = await start({ onMessage: (given) => taken.push(given) });
    await using sender = await connected(fcm);
    const { status, body } = await sender.send(message);
    expect([status, body.name]).toEqual([200, expect.stringMatching(/^projects\/tests\/messages\/0:\d+%/)]);
    await sender.send({ token: "device-2", android: { collapse_key: "k" } });
    await sender.send({ token: "device-3" });
    expect(taken.map(({ id, address }) => [id, address])).toEqual([
      ["d_x_1_1", "device-1"],
      ["k", "device-2"],
      ["", "device-3"],
    ]);
    expect(taken[0]?.payload).toEqual(message);
  });

  it("validates a message without sending it", async () => {
    await using fcm = await start();
    await using sender = await connected(fcm);
    const { status, body } = await sender.send(message, { validateOnly: true });
    expect([status, body.name, fcm.received]).toEqual([200, "projects/tests/messages/fake_message_id", 0]);
    expect((await sender.send({ ...message, data: { n: 1 } }, { validateOnly: true })).status).toBe(400);
  });

  it("answers 401 without a token, with an expired and with a revoked one", async () => {
    await using fcm = await start();
    await using sender = await connected(fcm);
    fcm.revokeTokens();
    const refused = await sender.send(message);
    expect([refused.status, refused.body.error.status]).toEqual([401, "UNAUTHENTICATED"]);
    expect(refused.headers["www-authenticate"]).toMatch(/^Bearer/);
    sender.setToken((await askForToken(sender.client, fcm)).body.access_token);
    expect((await sender.send(message)).status).toBe(200);

    await using shortLived = await start({ tokenLifetimeSeconds: 0 });
    await using late = await connected(shortLived);
    expect((await late.send(message)).status).toBe(401);
  });

  it("refuses another project and unknown paths", async () => {
    await using fcm = await start();
    await using sender = await connected(fcm);
    const refused = await sender.send(message, { projectId: "other" });
    expect([refused.status, refused.body.error.status]).toEqual([403, "PERMISSION_DENIED"]);
  });

  it("refuses bad messages with the field, in both kinds of details", async () => {
    await using fcm = await start();
    await using sender = await connected(fcm);
    const refused: readonly [unknown, string][] = [
      [undefined, "message"],
      [{ data: {} }, "message"],
      [{ token: "t", data: { n: 12 } }, "message.data[0].value"],
      [{ token: "t", data: { "gcm.x": "1" } }, "message.data"],
      [{ token: "t", notification: { title: 1 } }, "message.notification.title"],
      [{ token: "t", notification: { sound: "x" } }, "message.notification"],
      [{ token: "t", android: { ttl: 600 } }, "message.android.ttl"],
      [{ token: "t", android: { ttl: "2419201s" } }, "message.android.ttl"],
      [{ token: "t", android: { tag: "x" } }, "message.android"],
      [{ token: "t", data: { text: "x".repeat(4_093) } }, "message"],
    ];
    for (const [bad, field] of refused) {
      const { status, body } = await sender.send(bad);
      expect([status, body.error.status]).toEqual([400, "INVALID_ARGUMENT"]);
      const details: { "@type": string; fieldViolations?: { field: string }[] }[] = body.error.details;
      expect(details.flatMap(({ fieldViolations = [] }) => fieldViolations.map((one) => one.field))).toEqual([field]);
    }
    expect((await sender.send({ token: "t", data: { text: "x".repeat(4_092) } })).status).toBe(200);
    expect([fcm.received, fcm.answers.get("400 INVALID_ARGUMENT")]).toEqual([1, refused.length]);
  });

  it("gives each documented answer on demand", async () => {
    await using fcm = await start({
      faults: ({ address }) => {
        const answer = fcmAnswerNames.find((name) => name === address);
        return answer === undefined ? "accept" : { answer, retryAfter: "2" };
      },
    });
    await using sender = await connected(fcm);
    const statuses: Record<string, unknown> = {};
    for (const name of fcmAnswerNames) {
      const { status, headers, body } = await sender.send({ token: name });
      statuses[name] = [status, body.error.status];
      expect(headers["retry-after"]).toBe("2");
      expect(body).toEqual(JSON.parse(fcmAnswer(name).body ?? ""));
    }
    expect(statuses).toEqual({
      UNREGISTERED: [404, "NOT_FOUND"],
      INVALID_TOKEN: [400, "INVALID_ARGUMENT"],
      INVALID_ARGUMENT: [400, "INVALID_ARGUMENT"],
      SENDER_ID_MISMATCH: [403, "PERMISSION_DENIED"],
      PERMISSION_DENIED: [403, "PERMISSION_DENIED"],
      UNAUTHENTICATED: [401, "UNAUTHENTICATED"],
      THIRD_PARTY_AUTH_ERROR: [401, "UNAUTHENTICATED"],
      QUOTA_EXCEEDED: [429, "RESOURCE_EXHAUSTED"],
      UNAVAILABLE: [503, "UNAVAILABLE"],
      INTERNAL: [500, "INTERNAL"],
    });
  });
});
