import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { newVapidPair } from "../../src/channels/credentials.ts";
import { createDestination } from "../../src/store/destinations.ts";
import { listEndpoints, removeEndpoint, saveEndpoints } from "../../src/store/endpoints.ts";
import { subscribe } from "../../src/store/subscribe.ts";
import { createTopic } from "../../src/store/topics.ts";
import { countsOf, importText } from "../import/imported.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { until } from "../support/world.ts";

/*
 * Devices: endpoints of push services, of which each belongs to one user at a time.
 */

let test: TestDatabase;
beforeAll(async () => {
  test = await createTestDatabase({ max: 20 });
  const key = randomBytes(32);
  const settings = { projectId: "p", clientEmail: "c", tokenUrl: "https://t.example/", privateKey: "k" };
  for (const name of ["app", "other-app"]) {
    const url = "https://fcm.example";
    await createDestination(test.database, { name, channel: "fcm", url, ...settings }, key);
  }
  const web = { name: "web", channel: "web-push", url: "", subject: "mailto:a@b.example", ...newVapidPair() } as const;
  await createDestination(test.database, web, key);
  await createDestination(test.database, { name: "crm", url: "https://crm.example/", batchSize: 1 }, key);
  await createTopic(test.database, "live", {});
});
afterAll(() => test[Symbol.asyncDispose]());

const save = (userId: string, ...tokens: readonly string[]) =>
  saveEndpoints(
    test.database,
    tokens.map((address, index) => ({ userId, destination: "app", address, pointer: `/${index}` })),
  );
const held = async (userId: string) =>
  (await listEndpoints(test.database, userId)).map(
    ({ ordinal, address, goneReason }) => `${ordinal}:${address}${goneReason === null ? "" : ` (${goneReason})`}`,
  );
const owners = async (prefix: string) =>
  (
    await test.database.pool.query<{ address: string; user_id: string }>(
      `select address, user_id from carillon.endpoints join carillon.users using (user_number)
       where address like $1 and gone_at is null order by address`,
      [`${prefix}%`],
    )
  ).rows;

describe("a device", () => {
  it("is on its destination's channel where none is said, and only there", async () => {
    expect(await save("ann", "token-1")).toMatchObject([{ created: true, endpoint: { channel: "fcm", ordinal: 1 } }]);
    const on = (channel: string, destination: string, address?: string) =>
      saveEndpoints(test.database, [{ userId: "ann", channel, destination, address, pointer: "/e" }]);
    await expect(on("apns", "app", "ab".repeat(32))).rejects.toMatchObject({
      code: "destination_mismatch",
      pointer: "/e/destination",
    });
    await expect(on("webhook", "app")).rejects.toMatchObject({ code: "destination_mismatch" });
    await expect(on("fcm", "app")).rejects.toMatchObject({ code: "bad_address", pointer: "/e/address" });
    await expect(on("fcm", "app", "a b")).rejects.toMatchObject({ code: "bad_address", pointer: "/e/address" });
  });

  it("can't be on another channel than its destination in the database either", async () => {
    const insert = (channel: string, destination: string | null) =>
      test.database.pool.query(
        `insert into carillon.endpoints (hash_slot, user_number, ordinal, channel, destination_id, address)
         select hash_slot, user_number, 20, $1, (select destination_id from carillon.destinations where name = $2), 'x'
         from carillon.users where user_id = 'ann'`,
        [channel, destination],
      );
    await expect(insert("apns", "app")).rejects.toMatchObject({ code: "23503" });
    await expect(insert("webhook", "app")).rejects.toMatchObject({ code: "23503" });
    await expect(insert("fcm", null)).rejects.toMatchObject({ code: "23514" });
    await expect(insert("memory", "app")).rejects.toMatchObject({ code: "23514" });
  });

  it("registered again is the same endpoint, and newer", async () => {
    const [first] = await save("ben", "ben-token");
    const [again] = await save("ben", "ben-token");
    expect(again).toMatchObject({ created: false, endpoint: { ordinal: 1, goneAt: null } });
    expect(again?.endpoint.registeredAt.getTime()).toBeGreaterThan(first?.endpoint.registeredAt.getTime() ?? Infinity);
    await removeEndpoint(test.database, "ben", 1);
    await save("ben", "ben-token");
    expect(await held("ben")).toEqual(["1:ben-token"]);
  });

  it("moves to who registers it last, and back; the tombstone is told and cleared", async () => {
    await save("cas", "shared-phone", "cas-tablet");
    await save("dot", "shared-phone");
    expect(await held("cas")).toEqual(["1:shared-phone (moved to another user)", "2:cas-tablet"]);
    expect(await held("dot")).toEqual(["1:shared-phone"]);
    await save("cas", "shared-phone");
    expect(await held("cas")).toEqual(["1:shared-phone", "2:cas-tablet"]);
    expect(await held("dot")).toEqual(["1:shared-phone (moved to another user)"]);
  });

  it("is another one at another destination; and names that a receiver gives are shared", async () => {
    await save("eli", "same-text");
    await saveEndpoints(test.database, [
      { userId: "fae", destination: "other-app", address: "same-text", pointer: "" },
    ]);
    for (const userId of ["eli", "fae"]) {
      await saveEndpoints(test.database, [{ userId, destination: "crm", address: "household", pointer: "" }]);
    }
    expect(await held("eli")).toEqual(["1:same-text", "2:household"]);
    expect(await held("fae")).toEqual(["1:same-text", "2:household"]);
  });

  it("can't be given to two users in one request; the later one is told", async () => {
    const requests = ["gil", "hal", "gil"].map((userId, index) => ({
      userId,
      destination: "app",
      address: "one-phone",
      pointer: `/endpoints/${index}`,
    }));
    await expect(saveEndpoints(test.database, requests)).rejects.toMatchObject({
      code: "address_given_twice",
      pointer: "/endpoints/1/address",
    });
    expect(await owners("one-phone")).toEqual([]);
  });

  it("comes along with a subscription, too", async () => {
    await save("ivy", "ivys-phone");
    const request = {
      userId: "joe",
      topic: "live",
      when: { daily: { time: "07:00", zone: "UTC" } },
      endpoints: [{ destination: "app", address: "ivys-phone" }],
      pointer: "",
    };
    await subscribe(test.database, [request], { planHorizonMs: 3_600_000 });
    expect(await owners("ivys-phone")).toEqual([{ address: "ivys-phone", user_id: "joe" }]);
  });
});

describe("a browser", () => {
  const keys = {
    p256dh: newVapidPair().publicKey,
    auth: randomBytes(16).toString("base64url"),
  };
  const endpoint = "https://fcm.googleapis.com/fcm/send/abc";
  it("is one endpoint however its subscription is written", async () => {
    const register = (address: string) =>
      saveEndpoints(test.database, [{ userId: "kim", destination: "web", address, pointer: "" }]);
    await register(JSON.stringify({ keys, endpoint, expirationTime: null }, null, 1));
    expect(await register(JSON.stringify({ endpoint, keys }))).toMatchObject([{ created: false }]);
    expect(await held("kim")).toEqual([`1:${JSON.stringify({ endpoint, keys })}`]);
  });
});

describe("registered by several at once", () => {
  it("a device ends with one of them, whoever that is, and nobody is refused", async () => {
    const users = Array.from({ length: 8 }, (_, index) => `racer-${index}`);
    for (let round = 0; round < 5; round += 1) {
      await Promise.all(users.map((userId) => save(userId, `prize-${round}`)));
    }
    expect((await owners("prize-")).map(({ address }) => address)).toEqual(
      Array.from({ length: 5 }, (_, round) => `prize-${round}`),
    );
    const told = await Promise.all(users.map((userId) => held(userId)));
    expect(told.flat()).toHaveLength(40);
  });

  it("several devices in opposite orders end with one user each", async () => {
    const tokens = Array.from({ length: 20 }, (_, index) => `ring-${String(index).padStart(2, "0")}`);
    await Promise.all([
      save("left", ...tokens),
      save("right", ...tokens.toReversed()),
      importText(test.database, "endpoints", [
        "user_id,destination,address",
        ...tokens.map((token, index) => `${index % 2 === 0 ? "left" : "middle"},app,${token}`),
      ]),
    ]);
    expect((await owners("ring-")).map(({ address }) => address)).toEqual(tokens);
  });

  it("the one that comes later waits for the one before it, and then has the device", async () => {
    await save("una", "una-old");
    const client = await test.database.pool.connect();
    try {
      await client.query("begin");
      await client.query(
        `insert into carillon.endpoints (hash_slot, user_number, ordinal, channel, destination_id, address)
         select u.hash_slot, u.user_number, 2, 'fcm', d.destination_id, 'contended'
         from carillon.users u, carillon.destinations d where u.user_id = 'una' and d.name = 'app'`,
      );
      const later = save("vic", "contended");
      await waitsForIndex();
      await client.query("commit");
      expect(await later).toMatchObject([{ created: true }]);
    } finally {
      client.release();
    }
    expect(await held("una")).toEqual(["1:una-old", "2:contended (moved to another user)"]);
    expect(await held("vic")).toEqual(["1:contended"]);
  });

  /** Somebody waits for another transaction to end before an insert. */
  async function waitsForIndex(): Promise<void> {
    await until(async () => {
      const { rowCount } = await test.database.pool.query(
        `select from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock' and query like 'with wanted as materialized%'`,
      );
      return rowCount !== 0;
    }, "somebody waits");
  }
});

describe("an import of devices", () => {
  it("takes the later of two lines with one device, and devices from who had them", async () => {
    await save("wim", "import-1");
    const lines = [
      "user_id,destination,address",
      "xan,app,import-1",
      "yul,app,import-2",
      "zoe,app,import-2",
      "zoe,app,not a token",
      "zoe,web,import-3",
    ];
    const result = await importText(test.database, "endpoints", lines);
    expect(countsOf(result)).toEqual([2, 0, 1, 2]);
    expect(result.faults).toMatchObject([
      { line: 5, code: "bad_address", column: "address" },
      { line: 6, code: "bad_address", column: "address" },
    ]);
    expect(await owners("import-")).toEqual([
      { address: "import-1", user_id: "xan" },
      { address: "import-2", user_id: "zoe" },
    ]);
    expect(await held("wim")).toEqual(["1:import-1 (moved to another user)"]);
    const before = await test.database.pool.query("select max(xmin::text::bigint) from carillon.endpoints");
    expect(countsOf(await importText(test.database, "endpoints", lines))).toEqual([0, 0, 3, 2]);
    expect((await test.database.pool.query("select max(xmin::text::bigint) from carillon.endpoints")).rows).toEqual(
      before.rows,
    );
  });
});
