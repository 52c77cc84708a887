import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { inTransaction } from "../../src/store/executor.ts";
import { changeUser } from "../../src/store/moving.ts";
import { listMutes, removeMute, saveMute } from "../../src/store/mutes.ts";
import { createTopic } from "../../src/store/topics.ts";
import { findOrCreateUsers, findUser, lockUsers, readUser, setZones } from "../../src/store/users.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let test: TestDatabase;
beforeAll(async () => {
  test = await createTestDatabase({ max: 20 });
});
afterAll(() => test[Symbol.asyncDispose]());

describe("users", () => {
  it("are found or made, also those whom somebody else makes at the same moment", async () => {
    const ids = Array.from({ length: 50 }, (_, index) => ({ userId: `u${index}` }));
    const found = await Promise.all(
      Array.from({ length: 10 }, (_, round) =>
        inTransaction(test.database, (client) => findOrCreateUsers(client, ids.slice(round).toReversed())),
      ),
    );
    const { rows } = await test.database.pool.query("select user_id, user_number, hash_slot from carillon.users");
    expect(rows).toHaveLength(50);
    for (const users of found) {
      for (const [userId, ref] of users) {
        const row = rows.find((each) => each.user_id === userId);
        expect(ref).toEqual({ userNumber: row.user_number, hashSlot: row.hash_slot });
      }
    }
    expect(found.map((users) => users.size)).toEqual(Array.from({ length: 10 }, (_, round) => 50 - round));
  });

  it("are made with zone and locale, and keep what is not given", async () => {
    const { pool } = test.database;
    const [made] = await inTransaction(test.database, async (client) => {
      const users = await findOrCreateUsers(client, [{ userId: "zoned", zone: "UTC", locale: "en" }]);
      await lockUsers(client, users.values());
      return [...users.values()];
    });
    if (made === undefined) throw new Error("not made");
    await setZones(pool, [{ ...made, locale: "de" }]);
    expect(await readUser(test.database, "zoned")).toMatchObject({ zone: "UTC", locale: "de" });
    const nothing = { zone: null, locale: null, create: true };
    const changed = await changeUser(test.database, "zoned", nothing, { planHorizonMs: 0 });
    expect(changed.user).toMatchObject({ created: false, zone: null, locale: null });
    expect(await readUser(test.database, "zoned")).toMatchObject({ zone: null, locale: null });
    expect(await findUser(pool, "zoned")).toEqual(made);
    await expect(findUser(pool, "none")).rejects.toMatchObject({ code: "unknown_user" });
    await expect(readUser(test.database, "none")).rejects.toMatchObject({ code: "unknown_user" });
  });
});

describe("mutes", () => {
  it("are one per topic and one for all, and don't show when they have run out", async () => {
    const db = test.database;
    const { topicId } = await createTopic(db, "live", {});
    const { user } = await changeUser(db, "muted", { create: true }, { planHorizonMs: 0 });
    const until = new Date("2999-01-01T00:00:00Z");
    await saveMute(db, user.userId, { topic: "live", until: null });
    await saveMute(db, user.userId, { topic: "live", until });
    await saveMute(db, user.userId, { topic: null, until: new Date("2020-01-01T00:00:00Z") });
    expect(await listMutes(db, user.userId)).toEqual([{ topic: "live", until }]);
    const { rows } = await db.pool.query("select topic_id, muted_until from carillon.mutes order by topic_id");
    expect(rows).toEqual([
      { topic_id: 0, muted_until: new Date("2020-01-01T00:00:00Z") },
      { topic_id: topicId, muted_until: until },
    ]);
    await removeMute(db, user.userId, "live");
    await removeMute(db, user.userId, "live");
    expect(await listMutes(db, user.userId)).toEqual([]);
    await expect(saveMute(db, "none", { topic: null, until })).rejects.toMatchObject({ code: "unknown_user" });
    await expect(saveMute(db, user.userId, { topic: "no", until })).rejects.toMatchObject({ code: "not_found" });
  });
});
