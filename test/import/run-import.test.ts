import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CarillonError } from "../../src/errors.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { countsOf, importText } from "./imported.ts";

let test: TestDatabase;
beforeAll(async () => {
  test = await createTestDatabase({ max: 20 });
});
afterAll(() => test[Symbol.asyncDispose]());

const usersFile = (prefix: string, count: number): string[] => [
  "user_id,zone",
  ...Array.from({ length: count }, (_, index) => `${prefix}${index},${index % 10 === 9 ? "Mars/Olympus" : "UTC"}`),
];

async function usersLike(prefix: string): Promise<number> {
  const { rows } = await test.database.pool.query<{ count: string }>(
    "select count(*) from carillon.users where user_id like $1",
    [`${prefix}%`],
  );
  return Number(rows[0]?.count);
}

describe("an import", () => {
  it("stores the good lines, reports the bad ones, and changes nothing the second time", async () => {
    const file = usersFile("a", 100);
    const first = await importText(test.database, "users", file, { batchLines: 7 });
    expect(first).toMatchObject({ finished: true, begunBehind: 0 });
    expect(countsOf(first)).toEqual([90, 0, 0, 10]);
    expect(first.state).toMatchObject({ linesDone: 101, skipped: 0 });
    expect(first.faults.map(({ line }) => line)).toEqual(Array.from({ length: 10 }, (_, index) => 11 + 10 * index));
    expect(first.faults[0]).toEqual({
      line: 11,
      code: "unknown_zone",
      reason: expect.stringContaining("Mars/Olympus"),
      column: "zone",
    });
    const second = await importText(test.database, "users", file);
    expect(second.state.importId).not.toBe(first.state.importId);
    expect(countsOf(second)).toEqual([0, 0, 90, 10]);
  });

  it("is refused whole for its header, and leaves no trace", async () => {
    const before = await test.database.pool.query("select from carillon.imports");
    await expect(importText(test.database, "users", ["user,zone", "a,UTC"])).rejects.toMatchObject({
      code: "unknown_columns",
    });
    expect((await test.database.pool.query("select from carillon.imports")).rowCount).toBe(before.rowCount);
  });

  it("stops behind a batch when it is asked to, and goes on from there", async () => {
    const file = usersFile("b", 100);
    const stop = new AbortController();
    const told: number[] = [];
    const cut = await importText(test.database, "users", file, {
      batchLines: 11,
      signal: stop.signal,
      onProgress: ({ linesDone }) => {
        told.push(linesDone);
        if (told.length === 3) stop.abort(new Error("enough"));
      },
    });
    expect(cut).toMatchObject({ finished: false });
    expect(told).toEqual([11, 22, 33]);
    expect(await usersLike("b")).toBe(29);
    const rest = await importText(test.database, "users", file);
    expect(rest).toMatchObject({ finished: true, begunBehind: 33 });
    expect(rest.state.importId).toBe(cut.state.importId);
    // over both runs
    expect(countsOf(rest)).toEqual([90, 0, 0, 10]);
    expect(rest.faults.map(({ line }) => line)).toEqual([41, 51, 61, 71, 81, 91, 101]);
    expect(await usersLike("b")).toBe(90);
  });

  it("begins anew when it is told to, or when the file was changed", async () => {
    const file = usersFile("c", 30);
    const stopped = { batchLines: 10, signal: AbortSignal.abort(new Error("stopped")) };
    const stop = new AbortController();
    const cutAfterOne = { batchLines: 10, signal: stop.signal, onProgress: () => stop.abort(new Error("stopped")) };
    expect(await importText(test.database, "users", file, cutAfterOne)).toMatchObject({ finished: false });
    expect(await importText(test.database, "users", file, stopped)).toMatchObject({ begunBehind: 10 });
    const other = await importText(test.database, "users", [...file, "c-more,UTC"]);
    expect(other).toMatchObject({ finished: true, begunBehind: 0 });
    const again = await importText(test.database, "users", file, { restart: true });
    expect(again).toMatchObject({ finished: true, begunBehind: 0 });
    expect(countsOf(again)).toEqual([0, 0, 27, 3]);
  });

  it("undoes a batch that fails, together with its place, and reports its faults again", async () => {
    const file = usersFile("d", 40);
    const failing = importText(test.database, "users", file, {
      batchLines: 15,
      onFaults: (faults) => {
        if (faults.some(({ line }) => line > 15)) throw new Error("the disk is full");
      },
    });
    await expect(failing).rejects.toThrow("the disk is full");
    expect(await usersLike("d")).toBe(13);
    const rest = await importText(test.database, "users", file);
    expect(rest).toMatchObject({ finished: true, begunBehind: 15 });
    expect(countsOf(rest)).toEqual([36, 0, 0, 4]);
    expect(rest.faults.map(({ line }) => line)).toEqual([21, 31, 41]);
  });

  it("takes a batch in pieces that the store gave up as too much at once, and the ones behind it too", async () => {
    const told: number[] = [];
    const result = await importText(test.database, "users", usersFile("g", 999), {
      batchLines: 600,
      onFaults: (faults) => {
        // ten faults a hundred lines
        if (faults.length > 15) throw new CarillonError("database_unavailable", "This takes too long.");
      },
      onProgress: ({ linesDone }) => told.push(linesDone),
    });
    expect(told).toEqual([150, 300, 450, 600, 750, 900, 1000]);
    expect(countsOf(result)).toEqual([900, 0, 0, 99]);
    const never = importText(test.database, "users", usersFile("h", 999), {
      onFaults: () => {
        throw new CarillonError("database_unavailable", "Never.");
      },
    });
    await expect(never).rejects.toThrow("Never.");
    expect(await usersLike("h")).toBe(0);
  });

  it("is left to one of two processes that have the same file", async () => {
    const file = usersFile("e", 200);
    const both = await Promise.allSettled([
      importText(test.database, "users", file, { batchLines: 20 }),
      importText(test.database, "users", file, { batchLines: 20 }),
    ]);
    // who is too late either finds its place taken or, when the other has come to its end, the file imported
    const done = both.filter((each) => each.status === "fulfilled");
    const refused = both.filter((each) => each.status === "rejected");
    expect(done.length).toBeGreaterThanOrEqual(1);
    for (const { reason } of refused) expect(reason).toMatchObject({ code: "import_under_way" });
    expect(await usersLike("e")).toBe(180);
    const { rows } = await test.database.pool.query(
      `select inserted::int + bad::int as told from carillon.imports
       where import_id = any($1) and finished_at is not null and inserted > 0`,
      [done.map(({ value }) => value.state.importId)],
    );
    expect(rows).toEqual([{ told: 200 }]);
  });

  it("of many files at once about the same users waits, and does not deadlock", async () => {
    const users = Array.from({ length: 300 }, (_, index) => `f${index}`);
    const file = (order: readonly string[], zone: string) => [
      "user_id,zone",
      ...order.map((user) => `${user},${zone}`),
    ];
    const all = await Promise.all([
      importText(test.database, "users", file(users, "UTC"), { batchLines: 100 }),
      importText(test.database, "users", file(users.toReversed(), "Asia/Tokyo"), { batchLines: 100 }),
      importText(test.database, "users", file(users, "Europe/Rome"), { batchLines: 301 }),
    ]);
    const sums = all.map((each) => countsOf(each).reduce((sum, count) => sum + count, 0));
    expect(sums).toEqual([300, 300, 300]);
    expect(await usersLike("f")).toBe(300);
  });
});
