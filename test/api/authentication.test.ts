import { get as httpGet, request as httpRequest } from "node:http";
import supertest from "supertest";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createApp } from "../../src/api/app.ts";
import { type ApiServer, startApi } from "../../src/api/server.ts";
import { createKey, listKeys, revokeKey } from "../../src/store/api-keys.ts";
import { inSeconds, startTestApi, type TestApi } from "./api.ts";

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api[Symbol.asyncDispose]());

describe("with keys", () => {
  it.each([
    undefined,
    "",
    "Bearer",
    "Bearer ck_1_short",
    `Bearer ck_1_${"A".repeat(43)}`,
    `Bearer ck_999999_${"A".repeat(43)}`,
    `Basic ${Buffer.from("a:b").toString("base64")}`,
    `Bearer ${"x".repeat(5000)}`,
  ])("refuses Authorization: %s", async (authorization) => {
    const request = supertest(api.app).get("/v1/topics");
    const { body, headers } = await (authorization === undefined ? request : request.set({ authorization })).expect(
      401,
    );
    expect(body.code).toBe("unauthenticated");
    expect(headers["www-authenticate"]).toMatch(/^Bearer/);
  });

  it("asks for a key before it says whether anything is there, and before it reads a body", async () => {
    await supertest(api.app).get("/v1/nothing").expect(401);
    await supertest(api.app).post("/v1/topics").set("content-type", "application/json").send("{").expect(401);
  });

  it("lets subscribers do what they need and nothing else", async () => {
    const { subscriber } = api;
    await subscriber.get("/v1/topics").expect(200);
    await subscriber.get("/v1/topics/live").expect(200);
    await subscriber.get("/v1/places/berlin").expect(200);
    await subscriber.put("/v1/users/ada", { zone: "UTC" }).expect(201);
    await subscriber.put("/v1/users/ada/mutes", { until: inSeconds(60) }).expect(200);
    const forbidden = [
      subscriber.post("/v1/topics", { name: "mine" }),
      subscriber.patch("/v1/topics/live", { title: "mine" }),
      subscriber.post("/v1/topics/live/pause"),
      subscriber.post("/v1/places", { places: [] }),
      subscriber.get("/v1/timetables"),
      subscriber.get("/v1/destinations"),
      subscriber.post("/v1/destinations", {}),
      subscriber.get("/v1/schedules/1"),
      subscriber.get("/v1/buckets"),
      subscriber.post("/v1/buckets/1/cancel"),
    ];
    for (const call of forbidden) {
      const { body } = await call.expect(403);
      expect(body.code).toBe("forbidden");
    }
  });

  it("takes a key back at once, and notes when it was used", async () => {
    const db = api.test.database;
    const { keyId, token } = await createKey(db, { name: "for a while", scopes: ["subscribe"] });
    const call = () => supertest(api.app).get("/v1/topics").set("authorization", `Bearer ${token}`);
    await call().expect(200);
    const used = (await listKeys(db)).find((key) => key.keyId === keyId);
    expect(used?.lastUsedAt).toBeInstanceOf(Date);
    await call().expect(200);
    expect((await listKeys(db)).find((key) => key.keyId === keyId)?.lastUsedAt).toEqual(used?.lastUsedAt);
    await revokeKey(db, keyId);
    await call().expect(401);
  });
});

describe("without keys, in development", () => {
  let server: ApiServer;
  beforeAll(async () => {
    server = await startApi(createApp({ ...api.deps, openOnLoopback: true }), { host: "127.0.0.1", port: 0 });
  });
  afterAll(() => server.close());

  const statusOf = (headers: Record<string, string>) =>
    new Promise<number | undefined>((resolve, reject) => {
      httpGet(`${server.url}/v1/topics`, { headers, agent: false }, (response) => {
        response.resume().once("end", () => resolve(response.statusCode));
      }).once("error", reject);
    });

  it("answers this machine under its loopback names", async () => {
    expect(await statusOf({})).toBe(200);
    expect(await statusOf({ host: `localhost:${server.port}` })).toBe(200);
    expect(await statusOf({ host: `LocalHost:${server.port}`, origin: `http://localhost:${server.port}` })).toBe(200);
    expect(await statusOf({ host: `[::1]:${server.port}` })).toBe(200);
  });

  it.each([
    { host: "evil.example" },
    { host: "evil.example:PORT" },
    { host: "127.0.0.1" },
    { host: "localhost:1" },
    { host: "localhost.evil.example:PORT" },
    { host: "evil@localhost:PORT" },
    { host: "127.0.0.1:PORT", origin: "https://evil.example" },
    { host: "127.0.0.1:PORT", origin: "null" },
    { host: "127.0.0.1:PORT", origin: "http://localhost:PORT" },
    { host: "127.0.0.1:PORT", origin: "https://127.0.0.1:PORT" },
  ])("refuses %j", async (headers) => {
    const given = Object.entries(headers).map(([name, value]) => [name, value.replace("PORT", `${server.port}`)]);
    expect(await statusOf(Object.fromEntries(given))).toBe(403);
  });

  it("refuses what a page could post without asking", async () => {
    const status = await new Promise((resolve, reject) => {
      const request = httpRequest(`${server.url}/v1/topics`, {
        method: "POST",
        agent: false,
        headers: { "content-type": "text/plain" },
      });
      request.once("response", (response) => resolve(response.resume().statusCode)).once("error", reject);
      request.end('{"name":"sneaky"}');
    });
    expect(status).toBe(415);
  });
});

describe("health and headers", () => {
  it("answers /livez and /readyz without a key", async () => {
    expect((await supertest(api.app).get("/livez").expect(200)).body).toEqual({ status: "live" });
    expect((await supertest(api.app).get("/readyz").expect(200)).body).toEqual({ status: "ready" });
  });

  it("is not ready while it stops, and not without its database", async () => {
    const stopping = createApp({ ...api.deps, stopping: AbortSignal.abort() });
    expect((await supertest(stopping).get("/readyz").expect(503)).body.code).toBe("stopping");
    await supertest(stopping).get("/livez").expect(200);

    await using other = await startTestApi();
    await other.test.database[Symbol.asyncDispose]();
    const away = await supertest(other.app).get("/readyz").expect(503);
    expect(away.body.code).toBe("database_unavailable");
    expect(away.headers["retry-after"]).toBe("1");
  });

  it("sets the usual guards and hands a request id back", async () => {
    const { headers } = await supertest(api.app).get("/livez").set("x-request-id", "mine-1");
    expect(headers).toMatchObject({ "x-request-id": "mine-1", "x-content-type-options": "nosniff" });
    expect(headers["x-powered-by"]).toBeUndefined();
    const odd = await supertest(api.app).get("/livez").set("x-request-id", "not { mine");
    expect(odd.headers["x-request-id"]).toMatch(/^[0-9a-f-]{36}$/);
  });
});

describe("startApi", () => {
  it("closes twice, with idle connections open", async () => {
    const server = await startApi(api.app, { host: "127.0.0.1", port: 0 });
    const response = await fetch(`${server.url}/livez`);
    expect(await response.json()).toEqual({ status: "live" });
    await Promise.all([server.close(), server.close()]);
    await expect(fetch(`${server.url}/livez`)).rejects.toThrow();
  });

  it("says when it can't have its port", async () => {
    await using server = await startApi(api.app, { host: "127.0.0.1", port: 0 });
    await expect(startApi(api.app, { host: "127.0.0.1", port: server.port })).rejects.toMatchObject({
      code: "bad_configuration",
    });
  });
});
