import { randomBytes } from "node:crypto";
import { describe, expect, inject, it } from "vitest";
import { createEmptyDatabase } from "../support/database.ts";
import { runStatement } from "../support/server.ts";
import { until } from "../support/world.ts";
import { startCarillon, typed } from "./carillon.ts";

const password = "a-password";

function as(role: string, url: string): string {
  const theirs = new URL(url);
  theirs.username = role;
  theirs.password = password;
  return theirs.href;
}

describe("a role that is no superuser", () => {
  it("migrates where it may create in the database, and a member of it runs a worker that takes jobs", async () => {
    const { serverUrl } = inject("postgres");
    const owner = `carillon_test_owner_${randomBytes(4).toString("hex")}`;
    const member = `carillon_test_member_${randomBytes(4).toString("hex")}`;
    await runStatement(serverUrl, `create role ${owner} login password '${password}'`);
    await runStatement(serverUrl, `create role ${member} login password '${password}' in role ${owner}`);
    try {
      await using test = await createEmptyDatabase();
      const migrate = () => typed(["migrate"], { DATABASE_URL: as(owner, test.url), LOG_LEVEL: "silent" });
      expect(await migrate()).toMatchObject({ code: 1, stderr: expect.stringContaining("permission denied") });
      await runStatement(serverUrl, `grant create on database ${test.name} to ${owner}`);
      expect(await migrate()).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Applied .*views\.\n$/) });

      await using worker = startCarillon(["worker"], { DATABASE_URL: as(member, test.url), PORT: "0" });
      await worker.said("stderr", /"worker started"/);
      // row security would hide the job of a role that has no more than grants
      await test.database.pool.query("select graphile_worker.add_job('carillon.tidy', job_key := 'of this test')");
      const { pool } = test.database;
      const taken = async () =>
        (await pool.query("select from graphile_worker.jobs where key = 'of this test'")).rowCount;
      await until(async () => (await taken()) === 0, "the worker has taken the job");
      worker.kill("SIGTERM");
      expect(await worker.exited).toEqual({ code: 0, signal: null });
    } finally {
      await runStatement(serverUrl, `drop role ${member}, ${owner}`);
    }
  });
});
