import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { inSeconds, startTestApi, type TestApi } from "./api.ts";

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  await api.admin.post("/v1/destinations", { name: "push", url: "https://push.example.com/" }).expect(201);
});
afterAll(() => api[Symbol.asyncDispose]());

interface Saved {
  readonly id: string;
  readonly subscribedAt: string;
  readonly created: boolean;
}

describe("many requests at once", () => {
  it("makes one subscription of the same one posted 20 times", async () => {
    const request = {
      userId: "ada",
      topic: "live",
      daily: { time: "09:00", zone: "Asia/Tokyo" },
      endpoints: [{ destination: "push" }],
    };
    const before = await api.counts();
    const replies = await Promise.all(
      Array.from({ length: 20 }, async () => api.subscriber.post("/v1/subscriptions", request)),
    );
    expect(new Set(replies.map(({ body }) => JSON.stringify(body))).size).toBe(1);
    expect(replies.map(({ status }) => status).sort()).toEqual([...Array.from({ length: 19 }, () => 200), 201]);
    const after = await api.counts();
    for (const table of ["users", "endpoints", "schedules", "subscriptions"]) {
      expect(after[table], table).toBe((before[table] ?? 0) + 1);
    }
  });

  it("never deadlocks on users, endpoints and schedules taken in any order", async () => {
    const userIds = Array.from({ length: 60 }, (_, index) => `user-${(index * 37) % 60}`);
    const ats = Array.from({ length: 7 }, (_, index) => inSeconds(1000 + index));
    const requests = Array.from({ length: 40 }, (_, round) => {
      const turned = [...userIds.slice(round % 60), ...userIds.slice(0, round % 60)];
      const order = round % 2 === 0 ? turned : turned.reverse();
      return order.map((userId, index) => ({
        userId,
        topic: "live",
        at: ats[(index * (round + 1)) % ats.length],
        ...(round % 3 === 0 ? { zone: round % 2 === 0 ? "Asia/Tokyo" : "Europe/Berlin" } : {}),
        endpoints: [{ destination: "push", address: `device ${round % 4}` }],
      }));
    });
    const replies = await Promise.all(
      requests.map(async (subscriptions) => api.subscriber.post("/v1/subscriptions", { subscriptions })),
    );
    expect(replies.map(({ status, body }) => (status === 200 ? 200 : JSON.stringify(body)))).toEqual(
      requests.map(() => 200),
    );
    const ids = replies.flatMap(({ body }): Saved[] => body.subscriptions);
    const created = ids.filter((each) => each.created).map((each) => each.id);
    expect(new Set(created).size).toBe(created.length);
    expect(new Set(ids.map((each) => each.id)).size).toBe(created.length);
    const { rows } = await api.test.database.pool.query(
      `select count(*)::int as n, count(distinct ordinal)::int as ordinals, max(ordinal)::int as top
       from carillon.endpoints join carillon.users using (user_number)
       where user_id like 'user-%' group by user_number`,
    );
    expect(rows).toEqual(userIds.map(() => ({ n: 4, ordinals: 4, top: 4 })));
    const { rows: deadlocks } = await api.test.database.pool.query(
      "select deadlocks::int from pg_stat_database where datname = current_database()",
    );
    expect(deadlocks).toEqual([{ deadlocks: 0 }]);
  });

  it("imports the same places and endpoints at once without a deadlock", async () => {
    const places = Array.from({ length: 50 }, (_, index) => ({
      key: `p${index}`,
      name: `P${index}`,
      latitude: index,
      longitude: index,
      zone: "UTC",
    }));
    const endpoints = Array.from({ length: 50 }, (_, index) => ({
      userId: `importer-${index}`,
      destination: "push",
    }));
    const replies = await Promise.all(
      Array.from({ length: 12 }, (_, round) => round).flatMap((round) => {
        const population = round;
        const turned = <T>(items: readonly T[]) => (round % 2 === 0 ? items : items.toReversed());
        return [
          (async () =>
            api.admin.post("/v1/places", { places: turned(places).map((place) => ({ ...place, population })) }))(),
          (async () => api.admin.post("/v1/endpoints", { endpoints: turned(endpoints) }))(),
        ];
      }),
    );
    expect(replies.map(({ status }) => status)).toEqual(replies.map(() => 200));
    const { body } = await api.admin.get("/v1/users/importer-7/endpoints").expect(200);
    expect(body.endpoints).toHaveLength(1);
  });

  it("lets one of end and return win, never both", async () => {
    const request = { userId: "to-and-fro", topic: "live", daily: { time: "10:00", zone: "UTC" } };
    const { body } = await api.subscriber.post("/v1/subscriptions", request).expect(201);
    await Promise.all(
      Array.from({ length: 10 }, async (_, index) =>
        index % 2 === 0
          ? api.subscriber.delete(`/v1/subscriptions/${body.id}`).expect(200)
          : api.subscriber.post("/v1/subscriptions", request).expect(200),
      ),
    );
    const { rows } = await api.test.database.pool.query(
      `select count(*)::int as n from carillon.subscriptions s join carillon.users using (user_number)
       where user_id = 'to-and-fro'`,
    );
    expect(rows).toEqual([{ n: 1 }]);
  });
});
