import { appendFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createWebhookChannel } from "../../src/channels/webhook.ts";
import { readReceiverLog } from "../../src/fakes/receiver-log.ts";
import { spawnWebhookReceiver } from "../../src/fakes/spawned-receiver.ts";
import { type Fault, startWebhookReceiver } from "../../src/fakes/webhook-receiver.ts";
import { deliveriesTo, sendAll, someMoment } from "../channels/conformance.ts";

const secret = `whsec_${Buffer.alloc(32, 5).toString("base64")}`;
let folder = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "receiver-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function send(url: string, addresses: string[], batchSize = 1, secrets = [secret]) {
  const channel = createWebhookChannel({ policy: { allowLoopback: true }, connectionsPerHost: 4 });
  const destination = { channel: "webhook" as const, destinationId: 1, name: "r", url, secrets, batchSize };
  const { outcomes } = await sendAll(channel, destination, deliveriesTo(...addresses));
  await channel.close();
  return outcomes.map((outcome) => outcome?.kind);
}

async function logged(path: string) {
  return await Array.fromAsync(readReceiverLog(path));
}

describe("the webhook receiver", () => {
  it("logs one line a reminder, from single requests and from batches", async () => {
    const logFile = join(folder, "lines.ndjson");
    const beforeMs = performance.timeOrigin + performance.now();
    await using receiver = await startWebhookReceiver({ logFile, secrets: [secret] });
    await send(receiver.url, ["Zoë\n1"]);
    await send(receiver.url, ["u-0", "u-1", "u-2"], 3);
    await receiver.stop();
    const lines = await logged(logFile);
    expect(lines.map(({ user }) => user)).toEqual(["Zoë\n1", "u-0", "u-1", "u-2"]);
    expect(lines[0]).toEqual({
      id: "d_x_0_0",
      user: "Zoë\n1",
      bucket: "9007199254740993",
      group: 3,
      node: "node-a",
      attempt: 0,
      webhookId: "msg_d_x_0_0",
      receivedAtMs: expect.any(Number),
      dueAtMs: Date.parse(someMoment.dueAt),
      replied: 200,
    });
    expect(new Set(lines.slice(1).map(({ webhookId }) => webhookId)).size).toBe(1);
    expect(lines.every(({ receivedAtMs }) => receivedAtMs >= beforeMs)).toBe(true);
    expect([receiver.received, receiver.requests]).toEqual([4, 2]);
  });

  it("appends to a log and reads it back but for a last line without its end", async () => {
    const logFile = join(folder, "again.ndjson");
    for (const user of ["first", "second"]) {
      await using receiver = await startWebhookReceiver({ logFile });
      await send(receiver.url, [user]);
    }
    await appendFile(logFile, '{"id":"cut off');
    expect((await logged(logFile)).map(({ user }) => user)).toEqual(["first", "second"]);
    await appendFile(logFile, ' here"}\n');
    await expect(logged(logFile)).rejects.toThrow("Not a line");
  });

  it("refuses what none of its secrets signed, and records nothing of it", async () => {
    const other = `whsec_${Buffer.alloc(32, 6).toString("base64")}`;
    await using receiver = await startWebhookReceiver({ secrets: [secret] });
    expect(await send(receiver.url, ["u-1"], 1, [other])).toEqual(["auth"]);
    expect(await send(receiver.url, ["u-1"], 1, [])).toEqual(["auth"]);
    expect(await send(receiver.url, ["u-1"], 1, [other, secret])).toEqual(["accepted"]);
    expect([receiver.received, receiver.unsigned]).toEqual([1, 2]);
  });

  it("answers 400 to what is no reminder", async () => {
    await using receiver = await startWebhookReceiver();
    for (const body of ["", "{", "null", '{"type":"x","data":{}}', '{"type":"reminders","data":{"reminders":[{}]}}']) {
      expect((await fetch(receiver.url, { method: "POST", body })).status).toBe(400);
    }
    expect(receiver.requests).toBe(0);
  });

  it("records what it will reply, or that it will not", async () => {
    const faults: Record<string, Fault> = {
      accepted: "accept",
      reset: "reset",
      taken: "reset_after_accept",
      failed: { status: 503, headers: { "retry-after": "1" }, delayMs: 1 },
      silent: "withhold",
    };
    const logFile = join(folder, "faults.ndjson");
    const receiver = await startWebhookReceiver({
      logFile,
      faults: (request) => faults[request.reminders[0]?.user ?? ""] ?? "accept",
    });
    const sending = send(receiver.url, Object.keys(faults));
    await receiver.whenReceived(4);
    await receiver.stop();
    expect(await sending).toEqual(["accepted", "in_doubt", "in_doubt", "in_doubt", "in_doubt"]);
    expect(Object.fromEntries((await logged(logFile)).map(({ user, replied }) => [user, replied]))).toEqual({
      accepted: 200,
      taken: false,
      failed: 503,
      silent: false,
    });
  });

  it("tells when so many have come, and can be told to stop waiting", async () => {
    await using receiver = await startWebhookReceiver();
    const reached: number[] = [];
    const waits = [3, 1, 2].map((count) => receiver.whenReceived(count).then(() => reached.push(count)));
    const waiting = receiver.whenReceived(99, AbortSignal.abort(new Error("no more")));
    await expect(waiting).rejects.toThrow("no more");
    await send(receiver.url, ["u-1"]);
    await send(receiver.url, ["u-2"]);
    await send(receiver.url, ["u-3"]);
    await Promise.all(waits);
    expect(reached).toEqual([1, 2, 3]);
    await receiver.whenReceived(3);
  });

  it("stops twice, also with connections open", async () => {
    const receiver = await startWebhookReceiver({ faults: () => "withhold" });
    const sending = send(receiver.url, ["u-1"]);
    await receiver.whenReceived(1);
    await Promise.all([receiver.stop(), receiver.stop()]);
    expect(await sending).toEqual(["in_doubt"]);
  });
});

describe("the webhook receiver as a process", () => {
  it("is configured by data, notifies at a count, and has its log written out when it is stopped", async () => {
    const logFile = join(folder, "process.ndjson");
    const faultEvery = { nth: 3, fault: { status: 429 } };
    await using receiver = await spawnWebhookReceiver({ logFile, secrets: [secret], faultEvery, notifyAt: 1 });
    const reached = receiver.whenReceived(6);
    const kinds = await send(receiver.url, ["u-0", "u-1", "u-2", "u-3", "u-4", "u-5"]);
    expect(kinds.filter((kind) => kind === "retry")).toHaveLength(2);
    expect(Number.isFinite(await reached)).toBe(true);
    await receiver.stop();
    await receiver.stop();
    expect(receiver.received).toBe(6);
    expect((await logged(logFile)).filter(({ replied }) => replied === 429)).toHaveLength(2);
  });

  it("ends on SIGTERM with everything written out", async () => {
    const logFile = join(folder, "terminated.ndjson");
    await using receiver = await spawnWebhookReceiver({ logFile });
    await send(receiver.url, ["u-0", "u-1"], 2);
    process.kill(receiver.pid, "SIGTERM");
    await receiver.stop();
    expect(await logged(logFile)).toHaveLength(2);
  });

  it("says when it can't start", async () => {
    await using first = await startWebhookReceiver();
    await expect(spawnWebhookReceiver({ port: first.port })).rejects.toThrow("ended before it was ready");
  });
});
