import { mkdtemp, readFile, rm } from "node:fs/promises";
import { Agent } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import webPush from "web-push";
import { readReceiverLog } from "../../src/fakes/receiver-log.ts";
import { type SpawnedProviders, spawnProviders } from "../../src/fakes/spawned-providers.ts";
import { Http2Client } from "./http2-client.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "providers-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function push({ ca, webPush: service, subscribe }: SpawnedProviders, users: readonly string[]) {
  if (service === null) throw new Error("no push service");
  const agent = new Agent({ ca, keepAlive: true });
  const vapidDetails = { subject: "mailto:ops@example.com", ...service.vapid };
  const statuses: number[] = [];
  for (const user of users) {
    const sent = await webPush
      .sendNotification(subscribe(user), "x", { vapidDetails, agent })
      .catch((error: webPush.WebPushError) => error);
    statuses.push(sent.statusCode);
  }
  agent.destroy();
  return statuses;
}

describe("the providers as a process", () => {
  it("serve several channels, with credentials that fit them, one authority and one log", async () => {
    const logFile = join(folder, "log.ndjson");
    const caFile = join(folder, "ca.pem");
    await using providers = await spawnProviders({ channels: ["fcm", "apns", "web-push"], logFile, caFile });
    const { ca, fcm, apns } = providers;
    expect(await readFile(caFile, "utf8")).toBe(ca);
    expect(fcm?.tokenUrl).toBe(`${fcm?.url}/token`);
    expect(fcm?.serviceAccount.privateKey).toMatch(/^-----BEGIN PRIVATE KEY-----/);
    await using client = await Http2Client.connect(apns?.url ?? "", ca);
    expect((await client.send({ path: "/3/device/x" })).text).toMatch(/MissingProviderToken/);
    const reached = providers.whenReceived(2);
    expect(await push(providers, ["u-1", "u-2"])).toEqual([201, 201]);
    expect(Number.isFinite(await reached)).toBe(true);
    await providers.stop();
    await providers.stop();
    expect(providers.received).toBe(2);
    expect(providers.answers).toEqual({ fcm: {}, apns: { "403 MissingProviderToken": 1 }, "web-push": { "201": 2 } });
    const lines = await Array.fromAsync(readReceiverLog(logFile));
    expect(lines.map(({ channel, user, accepted }) => [channel, user, accepted])).toEqual([
      ["web-push", "u-1", true],
      ["web-push", "u-2", true],
    ]);
  });

  it("meet messages with faults by a schedule, replace it, and carry orders out", async () => {
    await using providers = await spawnProviders({
      channels: ["web-push"],
      faults: { "web-push": [{ addressPrefix: "dead-", fault: { answer: "Gone" } }] },
    });
    expect(await push(providers, ["dead-1", "u-1"])).toEqual([410, 201]);
    await providers.order({ kind: "faults", faults: { "web-push": [{ nth: 2, fault: { status: 429 } }] } });
    expect(await push(providers, ["dead-1", "u-1", "u-2"])).toEqual([201, 429, 201]);

    const url = providers.webPush?.url ?? "";
    await using client = await Http2Client.connect(url, providers.ca);
    await providers.order({ kind: "door", channel: "web-push", door: "refusing" });
    await expect(Http2Client.connect(url, providers.ca)).rejects.toThrow("ECONNREFUSED");
    await providers.order({ kind: "door", channel: "web-push", door: "open" });
    await providers.order({ kind: "go_away", channel: "web-push" });
    await client.closed;
  });

  it("say when they can't start", async () => {
    await expect(spawnProviders({ channels: [] })).rejects.toThrow("ended before they were ready");
  });
});
