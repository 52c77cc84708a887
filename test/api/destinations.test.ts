import { generateKeyPairSync } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { newVapidPair } from "../../src/channels/credentials.ts";
import { type OpenDestination, openDestinations } from "../../src/store/destinations.ts";
import { startTestApi, type TestApi } from "./api.ts";

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api[Symbol.asyncDispose]());

const rsaKey = () => pemOf(generateKeyPairSync("rsa", { modulusLength: 2_048 }).privateKey);
const p8 = () => pemOf(generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey);
const pemOf = (key: ReturnType<typeof generateKeyPairSync>["privateKey"]) =>
  key.export({ type: "pkcs8", format: "pem" }).toString();
const account = (private_key: string) => ({
  type: "service_account",
  project_id: "my-app-1",
  private_key_id: "0123456789abcdef",
  private_key,
  client_email: "sender@my-app-1.iam.gserviceaccount.com",
  client_id: "1",
  token_uri: "https://oauth2.googleapis.com/token",
  universe_domain: "googleapis.com",
});
const apple = { channel: "apns", teamId: "TEAM123456", keyId: "KEY1234567", bundleId: "com.example.app" };
const open = async (id: number): Promise<OpenDestination | undefined> =>
  (await openDestinations(api.test.database.pool, [id], api.deps.secretKey))[0];
const patch = (name: string, body: object) => api.admin.patch(`/v1/destinations/${name}`, body);
const create = (body: object) => api.admin.post("/v1/destinations", body);

describe("a Firebase project", () => {
  it("is made of the service account's file, and never tells its key", async () => {
    const privateKey = rsaKey();
    const { body } = await create({ name: "android", channel: "fcm", serviceAccount: account(privateKey) }).expect(201);
    const { destinationId, updatedAt, ...rest } = body;
    expect(rest).toEqual({
      name: "android",
      channel: "fcm",
      url: "https://fcm.googleapis.com",
      projectId: "my-app-1",
      clientEmail: "sender@my-app-1.iam.gserviceaccount.com",
      tokenUrl: "https://oauth2.googleapis.com/token",
      disabledAt: null,
      disabledReason: null,
    });
    expect(await open(destinationId)).toMatchObject({ channel: "fcm", projectId: "my-app-1", privateKey });
    const { rows } = await api.test.database.pool.query("select * from carillon.destinations");
    expect(JSON.stringify(rows)).not.toContain("PRIVATE KEY");
  });

  it("gets a new key, and that one alone; not another project", async () => {
    const [first, second] = [rsaKey(), rsaKey()];
    const { body } = await create({ name: "rotated", channel: "fcm", serviceAccount: account(first) }).expect(201);
    const changed = { ...account(second), client_email: "other@my-app-1.iam.gserviceaccount.com" };
    const rotated = await patch("rotated", { serviceAccount: changed, url: "https://eu.example.com/fcm/" }).expect(200);
    expect(rotated.body).toMatchObject({ clientEmail: changed.client_email, url: "https://eu.example.com/fcm" });
    expect(await open(body.destinationId)).toMatchObject({ privateKey: second, clientEmail: changed.client_email });
    const other = await patch("rotated", { serviceAccount: { ...account(first), project_id: "other" } }).expect(422);
    expect(other.body.errors).toMatchObject([{ code: "bad_credentials", pointer: "/serviceAccount/project_id" }]);
    expect(await open(body.destinationId)).toMatchObject({ privateKey: second, projectId: "my-app-1" });
  });
});

describe("an app at Apple's", () => {
  it("is made of a team's key, in production or the sandbox", async () => {
    const privateKey = p8();
    const { body } = await create({ name: "ios", ...apple, privateKey }).expect(201);
    expect(body).toMatchObject({ ...apple, url: "https://api.push.apple.com" });
    expect(JSON.stringify(body)).not.toContain("PRIVATE KEY");
    expect(await open(body.destinationId)).toMatchObject({ ...apple, privateKey });
    const sandbox = await create({ name: "ios-dev", ...apple, privateKey, sandbox: true }).expect(201);
    expect(sandbox.body.url).toBe("https://api.sandbox.push.apple.com");
  });

  it("changes a key together with its id, and keeps the rest", async () => {
    const privateKey = p8();
    const { body } = await patch("ios", { keyId: "NEWKEY1234", privateKey }).expect(200);
    expect(body).toMatchObject({ ...apple, keyId: "NEWKEY1234" });
    expect(await open(body.destinationId)).toMatchObject({ privateKey, keyId: "NEWKEY1234" });
    for (const half of [{ privateKey: p8() }, { keyId: "OTHERKEY12" }]) {
      expect((await patch("ios", half).expect(422)).body.errors).toMatchObject([
        { code: "bad_credentials", pointer: "/privateKey" },
      ]);
    }
    expect((await patch("ios", { sandbox: true }).expect(200)).body.url).toBe("https://api.sandbox.push.apple.com");
  });
});

describe("a VAPID identity", () => {
  const subject = "mailto:push@example.com";

  it("is generated where none is brought along; only its public key is told", async () => {
    const { body } = await create({ name: "web", channel: "web-push", subject }).expect(201);
    expect(body).toMatchObject({ channel: "web-push", subject, url: "" });
    const opened = await open(body.destinationId);
    if (opened?.channel !== "web-push") throw new Error("not a VAPID identity");
    expect(opened.publicKey).toBe(body.publicKey);
    const read = await api.admin.get("/v1/destinations/web").expect(200);
    expect(read.body.publicKey).toBe(body.publicKey);
    for (const told of [body, read.body]) expect(JSON.stringify(told)).not.toContain(opened.privateKey);
  });

  it("is taken along when it fits, and stays: browsers are bound to it", async () => {
    const pair = newVapidPair();
    const { body } = await create({ name: "own-web", channel: "web-push", subject, ...pair }).expect(201);
    expect(await open(body.destinationId)).toMatchObject(pair);
    await patch("own-web", newVapidPair()).expect(400);
    expect((await patch("own-web", { subject: "https://example.com" }).expect(200)).body).toMatchObject({
      subject: "https://example.com",
      publicKey: pair.publicKey,
    });
    expect(await open(body.destinationId)).toMatchObject(pair);
  });

  it("has no batches and no URL of its own", async () => {
    await patch("web", { batchSize: 2 }).expect(400);
    await patch("web", { url: "https://example.com/" }).expect(400);
    await expect(
      api.test.database.pool.query("update carillon.destinations set batch_size = 2 where name = 'web'"),
    ).rejects.toMatchObject({ code: "23514" });
  });
});

describe("destinations are listed together, without anything secret", () => {
  it("and disabled alike", async () => {
    await create({ name: "hook", url: "https://example.com/" }).expect(201);
    expect((await patch("web", { disabled: true }).expect(200)).body.disabledAt).not.toBeNull();
    expect((await patch("web", { disabled: false }).expect(200)).body.disabledAt).toBeNull();
    const { body } = await api.admin.get("/v1/destinations").expect(200);
    const channels = new Set(body.destinations.map(({ channel }: { channel: string }) => channel));
    expect([...channels].sort()).toEqual(["apns", "fcm", "web-push", "webhook"]);
    expect(JSON.stringify(body)).not.toMatch(/PRIVATE KEY|whsec_|"privateKey"|"secret"/);
  });
});

describe("what can't be used is refused when it is saved", () => {
  const pair = newVapidPair();
  const subject = "mailto:push@example.com";
  const key = rsaKey();
  it.each([
    ["an unknown channel", { channel: "pager" }, "invalid_request", "/channel"],
    ["no channel and no URL", {}, "invalid_request", "/url"],
    ["a webhook with a subject", { url: "https://example.com/", subject }, "invalid_request", "/subject"],
    ["no account", { channel: "fcm" }, "invalid_request", "/serviceAccount"],
    ["another kind of account", fcm({ type: "authorized_user" }), "invalid_request", "/serviceAccount/type"],
    ["no project", fcm({ project_id: undefined }), "invalid_request", "/serviceAccount/project_id"],
    ["a project that climbs", fcm({ project_id: "../x" }), "invalid_request", "/serviceAccount/project_id"],
    ["a key that is none", fcm({ private_key: "secret" }), "bad_credentials", "/serviceAccount/private_key"],
    ["a key of another kind", fcm({ private_key: p8() }), "bad_credentials", "/serviceAccount/private_key"],
    ["tokens from inside", fcm({ token_uri: "https://10.0.0.1/" }), "hostile_url", "/serviceAccount/token_uri"],
    ["an API inside", { ...fcm({}), url: "https://169.254.169.254/" }, "hostile_url", "/url"],
    ["a short key id", { ...apple, privateKey: p8(), keyId: "K" }, "invalid_request", "/keyId"],
    ["an RSA key for Apple", { ...apple, privateKey: key }, "bad_credentials", "/privateKey"],
    [
      "sandbox and URL",
      { ...apple, privateKey: p8(), sandbox: true, url: "https://a.example/" },
      "invalid_request",
      "/url",
    ],
    ["a bundle of two lines", { ...apple, privateKey: p8(), bundleId: "a\nb" }, "invalid_request", "/bundleId"],
    ["nobody to reach", { channel: "web-push" }, "invalid_request", "/subject"],
    ["a phone number", { channel: "web-push", subject: "tel:1" }, "invalid_request", "/subject"],
    ["half a pair", { channel: "web-push", subject, publicKey: pair.publicKey }, "bad_credentials", "/privateKey"],
    [
      "two halves",
      { channel: "web-push", subject, ...pair, publicKey: newVapidPair().publicKey },
      "bad_credentials",
      "/publicKey",
    ],
    ["a URL of its own", { channel: "web-push", subject, url: "https://a.example/" }, "invalid_request", "/url"],
  ])("%s", async (_, fields, code, pointer) => {
    const { body } = await create({ name: "refused", ...fields });
    expect(body.errors).toMatchObject([{ code, pointer }]);
    expect(JSON.stringify(body)).not.toContain("PRIVATE KEY");
    await api.admin.get("/v1/destinations/refused").expect(404);
  });

  function fcm(fields: object) {
    return { channel: "fcm", serviceAccount: { ...account(key), ...fields } };
  }
});
