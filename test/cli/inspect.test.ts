import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { registerNode } from "../../src/store/nodes.ts";
import { createTopic } from "../../src/store/topics.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { carillon, typed } from "./carillon.ts";

let test: TestDatabase;
let env: { DATABASE_URL: string };

beforeAll(async () => {
  test = await createTestDatabase();
  env = { DATABASE_URL: test.url };
  const { pool } = test.database;
  const { topicId } = await createTopic(test.database, "live", { title: "On air" });
  await registerNode(pool, { name: "worker-1", role: "worker", pid: 1, version: "0", slots: 8 });
  await pool.query(
    `insert into carillon.schedules (topic_id, rule, next_due_at)
     values ($1, '{"kind":"instant","at":"2030-01-01T00:00:00Z"}', '2030-01-01T00:00:00Z')`,
    [topicId],
  );
});

afterAll(() => test[Symbol.asyncDispose]());

/** begins colours and cursor movements, which must not come through a pipe */
const escapeCharacter = "\u001b";

describe("carillon status", () => {
  it("shows people and programs the same", async () => {
    const people = await carillon(["status"], env);
    const programs = await typed(["status", "--json"], env);
    expect(people).toMatchObject({ code: 0, stderr: "" });
    expect(people.stdout).toMatch(/Nothing needs a hand/);
    expect(people.stdout).toMatch(/2030-01-01 00:00:00Z/);
    expect(people.stdout).toMatch(/worker-1/);
    expect(people.stdout).not.toContain(escapeCharacter);
    const status: unknown = JSON.parse(programs.stdout);
    expect(status).toMatchObject({
      attention: [],
      upcoming: [{ topic: "live", dueAt: "2030-01-01T00:00:00.000Z" }],
      nodes: [{ node: "worker-1" }],
    });
  });

  it("ends with 1 when something needs a hand", async () => {
    await using other = await createTestDatabase();
    const { pool } = other.database;
    await createTopic(other.database, "live", {});
    await pool.query(
      `insert into carillon.schedules (topic_id, rule, next_due_at)
       select topic_id, '{"kind":"instant","at":"2020-01-01T00:00:00Z"}', '2020-01-01T00:00:00Z' from carillon.topics`,
    );
    const { code, stdout } = await carillon(["status"], { DATABASE_URL: other.url });
    expect(code).toBe(1);
    expect(stdout).toMatch(/NEEDS A HAND\n! planner stands/);
    expect(stdout).toMatch(/to do: /);
  });
});

describe("carillon sql", () => {
  it("lists its questions without a database", async () => {
    const people = await typed(["sql"]);
    const programs = await typed(["sql", "--json"]);
    const questions: readonly { name: string; parameters: readonly string[] }[] = JSON.parse(programs.stdout);
    expect(questions).toHaveLength(10);
    for (const { name } of questions) expect(people.stdout).toContain(name);
    expect(questions.find(({ name }) => name === "received")?.parameters).toEqual(["user_id"]);
  });

  it("answers with a table or an array", async () => {
    const people = await typed(["sql", "next"], env);
    const programs = await typed(["sql", "next", "--json"], env);
    expect(people.stdout).toMatch(/due_at .*topic/);
    expect(people.stdout).not.toContain(escapeCharacter);
    expect(JSON.parse(programs.stdout)).toEqual([expect.objectContaining({ topic: "live", state: "not planned" })]);
  });

  it("says how to ask", async () => {
    const unknown = await typed(["sql", "everything"], env);
    const short = await typed(["sql", "received"], env);
    const wrong = await typed(["sql", "failed", "no number"], env);
    expect(unknown).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("there are next, hour") });
    expect(short.stderr).toContain("carillon sql received USER_ID");
    expect(wrong.stderr).toContain("BUCKET_ID must be a number");
  });
});
