import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Fault, startWebhookReceiver, type WebhookReceiver } from "../../src/fakes/webhook-receiver.ts";
import { createDestination, patchDestination } from "../../src/store/destinations.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { typed } from "./carillon.ts";

const key = randomBytes(32);
const secret = `whsec_${randomBytes(32).toString("base64")}`;
let test: TestDatabase;
let receiver: WebhookReceiver;
let fault: Fault;
const ids: string[] = [];
let env: Record<string, string>;

beforeAll(async () => {
  test = await createTestDatabase();
  receiver = await startWebhookReceiver({
    secrets: [secret],
    onReceived: (reminders) => ids.push(...reminders.map(({ id }) => id)),
    faults: () => fault,
  });
  await createDestination(test.database, { name: "app", url: receiver.url, batchSize: 1, secret }, key);
  env = {
    DATABASE_URL: test.url,
    CARILLON_SECRET_KEY: key.toString("base64"),
    CARILLON_ALLOW_LOOPBACK: "true",
    CARILLON_SEND_TIMEOUT_MS: "500",
  };
});

afterAll(async () => {
  await receiver.stop();
  await test[Symbol.asyncDispose]();
});

function sendTest(answer: Fault, ...more: string[]) {
  fault = answer;
  return typed(["send-test", "--channel", "webhook", "--destination", "app", "--address", "alice", ...more], env);
}

describe("carillon send-test", () => {
  it("sends one signed reminder, each time with an id of its own, and says that it was taken", async () => {
    const before = receiver.received;
    const first = await sendTest("accept");
    const second = await sendTest("accept", "--json");
    expect(first).toMatchObject({ code: 0, stderr: "" });
    expect(first.stdout).toMatch(/│ accepted +│ 200 /);
    expect(JSON.parse(second.stdout)).toMatchObject({ kind: "accepted", replies: [{ status: 200, whole: true }] });
    expect(receiver.received).toBe(before + 2);
    expect(receiver.unsigned).toBe(0);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it("shows the whole answer of one that refuses, without what a terminal would obey", async () => {
    const body = `{"error":"no such user"}\n\u001b[2Jsecond line`;
    const people = await sendTest({ status: 429, headers: { "retry-after": "7" }, body });
    expect(people.code).toBe(1);
    expect(people.stdout).toMatch(/│ retry +│ 429 +│ answered 429 │/);
    expect(people.stdout).toContain(`Answered 429, Retry-After: 7:\n{"error":"no such user"}\n [2Jsecond line\n`);
    const programs = await sendTest({ status: 422, body }, "--json");
    expect(programs.code).toBe(1);
    expect(JSON.parse(programs.stdout)).toMatchObject({
      kind: "rejected",
      reason: "answered 422",
      replies: [{ status: 422, body }],
    });
  });

  it("says what is in doubt where no answer comes", async () => {
    const { code, stdout } = await sendTest("reset_after_accept", "--json");
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ kind: "in_doubt", replies: [] });
  });

  it("shows no secret", async () => {
    const said = await sendTest({ status: 401, body: "who are you?" });
    expect(said.stdout).toMatch(/│ auth/);
    for (const hidden of [secret, secret.slice(6), env.CARILLON_SECRET_KEY ?? ""]) {
      expect(said.stdout + said.stderr).not.toContain(hidden);
    }
  });

  it("sends to a disabled destination too, and says that it is one", async () => {
    await patchDestination(test.database, "app", { disabled: true }, key);
    const { code, stderr } = await sendTest("accept");
    await patchDestination(test.database, "app", { disabled: false }, key);
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringMatching(/^app is disabled/) });
  });

  it("says what it can't send", async () => {
    const of = (channel: string, destination: string, more = {}) =>
      typed(["send-test", "--channel", channel, "--destination", destination, "--address", "a"], { ...env, ...more });
    expect(await of("webhook", "nobody")).toMatchObject({ code: 1, stderr: expect.stringMatching(/\(not_found\)/) });
    expect(await of("apns", "app")).toMatchObject({ code: 1, stderr: expect.stringMatching(/destination_mismatch/) });
    expect(await of("pigeon", "app")).toMatchObject({ code: 2 });
    const otherKey = { CARILLON_SECRET_KEY: randomBytes(32).toString("base64") };
    expect(await of("webhook", "app", otherKey)).toMatchObject({
      code: 78,
      stderr: expect.stringMatching(/secret_key_missing/),
    });
  });
});
