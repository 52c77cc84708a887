import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Browser } from "../channels/browser.ts";
import { hostileEndpoints } from "../channels/hostile-endpoints.ts";
import { startTestApi, type TestApi } from "./api.ts";

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi({ egressPolicy: { allowLoopback: false } });
  const browsers = { name: "browsers", channel: "web-push", subject: "mailto:ops@example.com" };
  await api.admin.post("/v1/destinations", browsers).expect(201);
  await api.subscriber.put("/v1/users/bob", {}).expect(201);
});
afterAll(() => api[Symbol.asyncDispose]());

const browser = new Browser();
const subscription = browser.subscription("https://fcm.googleapis.com/fcm/send/eAzLfIxkZ2k:APA91bH4");

const stored = async () =>
  (await api.test.database.pool.query("select address from carillon.endpoints where channel = 'web-push'")).rows;

describe("an endpoint of Web Push", () => {
  it("is none of the hostile forms, one by one or in a batch, and nothing of them is stored", async () => {
    for (const url of hostileEndpoints) {
      const address = browser.subscription(url);
      const { body } = await api.subscriber
        .post("/v1/users/bob/endpoints", { destination: "browsers", address })
        .expect(422);
      expect(body.errors, url).toMatchObject([{ code: "hostile_url", pointer: "/address" }]);
    }
    // An error lists a hundred mistakes at most.
    const some = hostileEndpoints.slice(0, 99);
    const endpoints = [subscription, ...some.map((url) => browser.subscription(url))].map((address) => ({
      userId: "bob",
      destination: "browsers",
      address,
    }));
    const { body } = await api.subscriber.post("/v1/endpoints", { endpoints }).expect(422);
    expect(body.errors).toHaveLength(some.length);
    expect(body.errors[0]).toMatchObject({ code: "hostile_url", pointer: "/endpoints/1/address" });
    expect(await stored()).toEqual([]);
  });

  it("is what a browser gives, as an object or as text, and the same one either way", async () => {
    const asGiven = { ...JSON.parse(subscription), expirationTime: null };
    for (const address of [asGiven, JSON.stringify(asGiven, null, 1).replaceAll("\n", ""), subscription]) {
      const { body } = await api.subscriber.post("/v1/users/bob/endpoints", { destination: "browsers", address });
      expect(body).toMatchObject({ channel: "web-push", ordinal: 1 });
    }
    expect(await stored()).toEqual([{ address: subscription }]);
  });

  it("needs keys that messages can be encrypted for", async () => {
    const address = JSON.parse(subscription);
    address.keys.p256dh = Buffer.alloc(65, 7).fill(4, 0, 1).toString("base64url");
    const { body } = await api.subscriber
      .post("/v1/users/bob/endpoints", { destination: "browsers", address })
      .expect(422);
    expect(body.errors).toMatchObject([{ code: "bad_subscription", pointer: "/address" }]);
    expect(JSON.stringify(body)).not.toContain("APA91bH4");
  });
});
