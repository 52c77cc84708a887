import { afterAll, beforeAll, expect, it } from "vitest";
import { openDatabase } from "../../src/store/database.ts";
import { warmUp } from "../../src/store/warm-up.ts";
import { createTestDatabase } from "../support/database.ts";

let test: Awaited<ReturnType<typeof createTestDatabase>>;
beforeAll(async () => {
  test = await createTestDatabase();
});
afterAll(() => test[Symbol.asyncDispose]());

it("gives all connections back, with their statements planned", async () => {
  await using db = openDatabase({ url: test.url, applicationName: "warm", max: 2, genericPlans: true });
  await warmUp(db, 2);
  expect([db.pool.totalCount, db.pool.idleCount]).toEqual([2, 2]);
  const { rows } = await db.pool.query("select name from pg_prepared_statements where name like '%many' order by name");
  expect(rows).toEqual([{ name: "intend_many" }, { name: "record_many" }]);
});

it("gives back those that came after one had failed", async () => {
  await using db = openDatabase({ url: test.url, applicationName: "warm", max: 2, genericPlans: true });
  const connect = db.pool.connect.bind(db.pool) as () => ReturnType<typeof db.pool.connect>;
  let asked = 0;
  const failing = new Proxy(db.pool, {
    get(target, name) {
      if (name !== "connect") return Reflect.get(target, name, target);
      asked += 1;
      return asked === 1 ? () => Promise.reject(new Error("no connection")) : connect;
    },
  });
  await expect(warmUp({ ...db, pool: failing }, 2)).rejects.toThrow("no connection");
  expect([db.pool.totalCount, db.pool.idleCount]).toEqual([1, 1]);
});
