import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDestination } from "../../src/store/destinations.ts";
import { listEndpoints, removeEndpoint, saveEndpoints } from "../../src/store/endpoints.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let test: TestDatabase;
beforeAll(async () => {
  test = await createTestDatabase();
  const key = randomBytes(32);
  for (const name of ["one", "two"]) {
    await createDestination(test.database, { name, url: "https://example.com/", batchSize: 1 }, key);
  }
});
afterAll(() => test[Symbol.asyncDispose]());

const save = (userId: string, addresses: readonly string[], destination = "one") =>
  saveEndpoints(
    test.database,
    addresses.map((address, index) => ({ userId, channel: "webhook", destination, address, pointer: `/${index}` })),
  );
const ordinals = async (userId: string) =>
  (await listEndpoints(test.database, userId)).map(
    (each) => `${each.ordinal}:${each.address}${each.goneAt ? "!" : ""}`,
  );

describe("endpoints", () => {
  it("are numbered per user in the order in which they come, each address once", async () => {
    const saved = await save("ada", ["a", "b", "a", "c"]);
    expect(saved.map(({ endpoint, created }) => [endpoint.ordinal, created])).toEqual([
      [1, true],
      [2, true],
      [1, false],
      [3, true],
    ]);
    await save("ada", ["d", "b"]);
    expect(await ordinals("ada")).toEqual(["1:a", "2:b", "3:c", "4:d"]);
  });

  it("are the same address at another destination, or another user, only by name", async () => {
    await save("bob", ["a"]);
    await save("bob", ["a"], "two");
    expect(await ordinals("bob")).toEqual(["1:a", "2:a"]);
  });

  it("come back under their own number, beside new ones in the same request", async () => {
    await save("cem", ["a", "b", "c"]);
    await removeEndpoint(test.database, "cem", 2);
    await removeEndpoint(test.database, "cem", 3);
    await save("cem", ["x", "b", "y"]);
    expect(await ordinals("cem")).toEqual(["1:a", "2:b", "3:c!", "4:x", "5:y"]);
  });

  it("are twenty at most; then the one gone for longest makes room", async () => {
    const twenty = Array.from({ length: 20 }, (_, index) => `a${index + 1}`);
    await save("dan", twenty);
    await expect(save("dan", ["a1", "new"])).rejects.toMatchObject({ code: "too_many_endpoints", pointer: "/1" });
    await removeEndpoint(test.database, "dan", 9);
    await removeEndpoint(test.database, "dan", 4);
    await save("dan", ["new"]);
    const now = await ordinals("dan");
    expect(now).toHaveLength(20);
    expect(now[8]).toBe("9:new");
    expect(now[3]).toBe("4:a4!");
    // one returns, one is new: the returning one's number is not given away
    await removeEndpoint(test.database, "dan", 20);
    await save("dan", ["newer", "a4"]);
    expect((await ordinals("dan")).filter((each) => /^(4|20):/.test(each))).toEqual(["4:a4", "20:newer"]);
    await expect(save("dan", ["one too many"])).rejects.toMatchObject({ code: "too_many_endpoints" });
  });

  it("of one user in a bulk are refused together with the others' when one has too many", async () => {
    const requests = ["eve", "dan"].map((userId, index) => ({
      userId,
      channel: "webhook",
      destination: "one",
      address: "fresh",
      pointer: `/endpoints/${index}`,
    }));
    await expect(saveEndpoints(test.database, requests)).rejects.toMatchObject({
      code: "too_many_endpoints",
      pointer: "/endpoints/1",
    });
    await expect(listEndpoints(test.database, "eve")).rejects.toMatchObject({ code: "unknown_user" });
  });

  it("need a destination on the webhook channel and none on others", async () => {
    const on = (channel: string, destination?: string) =>
      saveEndpoints(test.database, [{ userId: "fay", channel, destination, pointer: "" }]);
    await expect(on("webhook")).rejects.toMatchObject({ code: "destination_mismatch" });
    await expect(on("memory", "one")).rejects.toMatchObject({ code: "destination_mismatch" });
    await expect(on("webhook", "none")).rejects.toMatchObject({ code: "unknown_destination" });
    expect(await on("memory")).toMatchObject([{ created: true, endpoint: { destination: null, address: "fay" } }]);
    expect(await on("memory")).toMatchObject([{ created: false }]);
  });
});
