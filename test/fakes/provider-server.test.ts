import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { Agent, fetch } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createAuthority } from "../../src/fakes/certificate.ts";
import { type ProviderFault, type ScheduledFault, scheduledFaults } from "../../src/fakes/provider-fault.ts";
import {
  type ProviderServer,
  type ProviderServerOptions,
  startProviderServer,
} from "../../src/fakes/provider-server.ts";
import { readReceiverLog } from "../../src/fakes/receiver-log.ts";
import { Http2Client } from "./http2-client.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "provider-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** A provider without rules: the path is the address, and all are welcome. */
function startPlain(options: ProviderServerOptions<"GONE"> = {}): Promise<ProviderServer<"GONE">> {
  return startProviderServer<"GONE">(
    {
      channel: "fcm",
      allowHttp1: true,
      maxConcurrentStreams: 50,
      receive: ({ path, headers, body, receivedAtMs }) => ({
        kind: "message",
        message: {
          channel: "fcm",
          id: "",
          address: path.slice(1),
          payload: body.toString(),
          headers,
          receivedAtMs,
        },
        reply: { status: 200, body: "taken" },
      }),
      answer: () => ({ status: 404, name: "GONE", body: "{}" }),
    },
    options,
  );
}

async function failure(sending: Promise<unknown>): Promise<{ code?: string; rstCode?: number }> {
  return await sending.then(
    () => {
      throw new Error("it was answered");
    },
    (error) => error,
  );
}

describe("the throw-away authority", () => {
  it("issues certificates that hold for their names and that nobody else trusts", async () => {
    const authority = createAuthority();
    const ca = new X509Certificate(authority.ca);
    const leaf = new X509Certificate(authority.issue(["localhost", "127.0.0.1"]).cert);
    expect(leaf.checkIssued(ca) && leaf.verify(ca.publicKey)).toBe(true);
    expect([leaf.checkHost("localhost"), leaf.checkIP("127.0.0.1")]).toEqual(["localhost", "127.0.0.1"]);
    expect([leaf.checkHost("example.com"), leaf.ca, ca.ca]).toEqual([undefined, false, true]);
    expect(leaf.verify(new X509Certificate(createAuthority().ca).publicKey)).toBe(false);
  });

  it("is refused by a client that was not handed it", async () => {
    await using server = await startPlain();
    const socket = connectTls({ host: "127.0.0.1", port: server.port, ALPNProtocols: ["h2"] });
    const [error] = await once(socket, "error");
    expect(error.code).toBe("UNABLE_TO_VERIFY_LEAF_SIGNATURE");
  });
});

describe("a provider's server", () => {
  it("speaks HTTP/2 to those who offer it, else HTTP/1.1", async () => {
    await using server = await startPlain();
    await using client = await Http2Client.connect(server.url, server.ca);
    expect(client.session.alpnProtocol).toBe("h2");
    expect(await client.send({ path: "/u-1", body: "x" })).toMatchObject({ status: 200, text: "taken" });
    const dispatcher = new Agent({ connect: { ca: server.ca }, allowH2: false });
    const reply = await fetch(`${server.url}/u-2`, { method: "POST", body: "y", dispatcher });
    expect([reply.status, await reply.text()]).toEqual([200, "taken"]);
    await dispatcher.close();
    expect([server.received, server.connections, server.sessions.length]).toEqual([2, 2, 1]);
  });

  it("shows its stream limit in its first SETTINGS, and changes it on open connections", async () => {
    await using server = await startPlain({ maxConcurrentStreams: 1, faults: () => ({ delayMs: 20 }) });
    await using client = await Http2Client.connect(server.url, server.ca);
    expect(client.session.remoteSettings.maxConcurrentStreams).toBe(1);
    await Promise.all([1, 2, 3].map((user) => client.send({ path: `/u-${user}` })));
    expect(server.underWayMost).toBe(1);

    const changed = once(client.session, "remoteSettings");
    server.setMaxConcurrentStreams(100);
    await changed;
    expect(client.session.remoteSettings.maxConcurrentStreams).toBe(100);
    await Promise.all([1, 2, 3].map((user) => client.send({ path: `/u-${user}` })));
    expect(server.underWayMost).toBe(3);
    await using later = await Http2Client.connect(server.url, server.ca);
    expect(later.session.remoteSettings.maxConcurrentStreams).toBe(100);
  });

  it("records what becomes of each message, before its answer is out", async () => {
    const faults: Record<string, ProviderFault<"GONE">> = {
      "u-good": "accept",
      "u-cut": "reset",
      "u-taken": "reset_after_accept",
      "u-gone": { answer: "GONE", retryAfter: "7" },
      "u-doubt": { status: 503, accepts: true },
      "u-stream": { resetStream: 7 },
      "u-stream-taken": { resetStream: 2, accepts: true },
    };
    const logFile = join(folder, "outcomes.ndjson");
    const server = await startPlain({ log: logFile, faults: ({ address }) => faults[address] ?? "accept" });
    const seen: unknown[] = [];
    for (const address of Object.keys(faults)) {
      await using client = await Http2Client.connect(server.url, server.ca);
      const headers = { "carillon-node": "node-a" };
      const sent = await client.send({ path: `/${address}`, headers }).then(
        ({ status, headers }) => [status, headers["retry-after"]],
        (error) => error.rstCode,
      );
      if (faults[address]?.toString().startsWith("reset")) await client.closed;
      seen.push(client.brokenBy ?? sent);
    }
    await server.stop();
    expect(seen).toEqual([[200, undefined], "ECONNRESET", "ECONNRESET", [404, "7"], [503, undefined], 7, 2]);
    const lines = await Array.fromAsync(readReceiverLog(logFile));
    expect(lines.map(({ user, replied, accepted }) => [user, replied, accepted])).toEqual([
      ["u-good", 200, true],
      ["u-taken", false, true],
      ["u-gone", 404, false],
      ["u-doubt", 503, true],
      ["u-stream", false, false],
      ["u-stream-taken", false, true],
    ]);
    expect(lines[0]).toMatchObject({ channel: "fcm", node: "node-a", bucket: "", dueAtMs: 0 });
    expect(Object.fromEntries(server.answers)).toEqual({
      "200": 1,
      reset: 2,
      "404 GONE": 1,
      "503": 1,
      reset_stream: 2,
    });
  });

  it("withholds an answer until the client gives up, and others go on beside it", async () => {
    await using server = await startPlain({ faults: ({ address }) => (address === "u-1" ? "withhold" : "accept") });
    await using client = await Http2Client.connect(server.url, server.ca);
    const silent = client.session.request({ ":path": "/u-1", ":method": "POST" });
    silent.end();
    await server.whenReceived(1);
    expect((await client.send({ path: "/u-2" })).status).toBe(200);
    expect(silent.closed).toBe(false);
    silent.close(8);
    await once(silent, "close");
    expect(server.answers.get("withheld")).toBe(1);
  });

  it("sends GOAWAY after the message's own stream, and answers that", async () => {
    await using server = await startPlain({ faults: () => ({ goaway: { code: 0, debugData: "Shutdown" } }) });
    await using client = await Http2Client.connect(server.url, server.ca);
    const goaway = once(client.session, "goaway");
    const sending = client.send({ path: "/u-1" });
    const [code, lastStream, data] = await goaway;
    expect([code, lastStream, String(data)]).toEqual([0, 1, "Shutdown"]);
    expect((await sending).status).toBe(200);
    await client.closed;
  });

  it("sends GOAWAY before a stream, serves those below it and gives no answer to those above", async () => {
    await using server = await startPlain({
      faults: ({ address }) => (address === "u-2" ? { goaway: { lastStream: "before" } } : { delayMs: 30 }),
    });
    await using client = await Http2Client.connect(server.url, server.ca);
    const goaway = once(client.session, "goaway");
    const [first, second, third] = ["u-1", "u-2", "u-3"].map((user) => client.send({ path: `/${user}` }));
    const ends = Promise.all([first, failure(second ?? Promise.resolve()), failure(third ?? Promise.resolve())]);
    const [, lastStream] = await goaway;
    expect(lastStream).toBe(1);
    expect((await ends)[0]?.status).toBe(200);
    expect(server.answers.get("goaway")).toBe(1);
  });

  it("passes over what comes in on streams above the last one that it names, as if it had never come", async () => {
    const taken: string[] = [];
    await using server = await startPlain({
      onMessage: ({ address }, accepted) => {
        if (accepted) taken.push(address);
      },
      faults: ({ address }) => (address === "u-2" ? { goaway: {} } : "accept"),
    });
    await using client = await Http2Client.connect(server.url, server.ca);
    const users = Array.from({ length: 20 }, (_, index) => `u-${index + 1}`);
    const ends = await Promise.allSettled(users.map((user) => client.send({ path: `/${user}` })));
    await client.closed;
    expect(ends.map(({ status }) => status)).toEqual(users.map((_, at) => (at < 2 ? "fulfilled" : "rejected")));
    expect(taken).toEqual(["u-1", "u-2"]);
    expect(server.received).toBe(2);
  });

  it("does not name a stream as left out by GOAWAY that it already serves", async () => {
    const accepted: string[] = [];
    await using server = await startPlain({
      onMessage: ({ address }, taken) => {
        if (taken) accepted.push(address);
      },
      faults: ({ address }) => (address === "u-1" ? { goaway: { lastStream: "before" } } : { delayMs: 20 }),
    });
    await using client = await Http2Client.connect(server.url, server.ca);
    const goaway = once(client.session, "goaway");
    const late = client.session.request({ ":path": "/u-1", ":method": "POST" });
    const refused = new Promise((resolve) => late.once("close", () => resolve(late.rstCode)));
    late.on("error", () => {});
    const answered = client.send({ path: "/u-2" });
    await server.whenReceived(1);
    late.end();
    expect((await goaway)[1]).toBe(3);
    expect([await refused, (await answered).status, accepted]).toEqual([7, 200, ["u-2"]]);
  });

  it("refuses the first stream of a connection by its number where GOAWAY can't", async () => {
    await using server = await startPlain({ faults: () => ({ goaway: { lastStream: "before" } }) });
    await using client = await Http2Client.connect(server.url, server.ca);
    const goaway = once(client.session, "goaway");
    expect((await failure(client.send({ path: "/u-1" }))).rstCode).toBe(7);
    await goaway;
  });

  it("sends GOAWAY on demand, and takes a new connection", async () => {
    await using server = await startPlain();
    await using client = await Http2Client.connect(server.url, server.ca);
    await client.send({ path: "/u-1" });
    const goaway = once(client.session, "goaway");
    server.goAway({ code: 11, debugData: "enhance your calm" });
    expect((await goaway)[0]).toBe(11);
    await client.closed;
    await using again = await Http2Client.connect(server.url, server.ca);
    expect((await again.send({ path: "/u-2" })).status).toBe(200);
    expect(server.connections).toBe(2);
  });

  it("refuses new connections while old ones go on, or lets them hang, and opens again on its port", async () => {
    await using server = await startPlain();
    await using client = await Http2Client.connect(server.url, server.ca);
    await server.setDoor("refusing");
    const refused = connectTcp(server.port, "127.0.0.1");
    expect((await once(refused, "error"))[0].code).toBe("ECONNREFUSED");
    expect((await client.send({ path: "/u-1" })).status).toBe(200);

    await server.setDoor("silent");
    const hanging = connectTls({ host: "127.0.0.1", port: server.port, ca: server.ca, ALPNProtocols: ["h2"] });
    let bytes = 0;
    hanging.on("data", (part) => {
      bytes += part.length;
    });
    await once(hanging, "connect");
    expect((await client.send({ path: "/u-2" })).status).toBe(200);
    await server.setDoor("open");
    await using later = await Http2Client.connect(server.url, server.ca);
    expect((await later.send({ path: "/u-3" })).status).toBe(200);
    expect([bytes, hanging.destroyed]).toEqual([0, false]);
    hanging.destroy();
  });

  it("stops twice, also with answers outstanding", async () => {
    const server = await startPlain({ delayMs: 60_000 });
    await using client = await Http2Client.connect(server.url, server.ca);
    const sending = failure(client.send({ path: "/u-1" }));
    await server.whenReceived(1);
    await Promise.all([server.stop(), server.stop()]);
    await sending;
    await expect(Http2Client.connect(server.url, server.ca)).rejects.toThrow("ECONNREFUSED");
  });
});

describe("a schedule of faults", () => {
  const met = (schedule: ScheduledFault[], ...requests: [string, number][]) => {
    const faults = scheduledFaults(schedule);
    return requests.map(([address, atMs]) => faults(address, atMs));
  };

  it("meets each nth, by prefix, between two times, so many times; the first that fits has it", () => {
    const gone: ScheduledFault = { addressPrefix: "dead-", fault: { answer: "UNREGISTERED" } };
    expect(met([gone], ["dead-1", 0], ["u-1", 0], ["dead-2", 0])).toEqual([gone.fault, "accept", gone.fault]);
    const u = (atMs: number): [string, number] => ["u", atMs];
    expect(met([{ nth: 2, fault: "reset" }], u(0), u(0), u(0), u(0))).toEqual(["accept", "reset", "accept", "reset"]);
    expect(met([{ fromMs: 5, untilMs: 7, fault: "reset" }], u(4), u(5), u(6.9), u(7))).toEqual([
      "accept",
      "reset",
      "reset",
      "accept",
    ]);
    expect(met([{ times: 1, fault: "reset" }, { fault: "withhold" }], u(0), u(0))).toEqual(["reset", "withhold"]);
  });
});
