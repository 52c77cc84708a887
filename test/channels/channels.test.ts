import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { createChannels } from "../../src/channels/channels.ts";
import { readConfig } from "../../src/config.ts";
import { createAuthority } from "../../src/fakes/certificate.ts";
import { deliveriesTo, sendAll } from "./conformance.ts";

it("webhooks go over TLS to receivers whose authority the operator named, and to no others", async () => {
  const authority = createAuthority();
  const { cert, key } = authority.issue(["localhost", "127.0.0.1"]);
  let requests = 0;
  const receiver = createServer({ cert, key }, (_, response) => {
    requests += 1;
    response.writeHead(204).end();
  });
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  const { port } = receiver.address() as AddressInfo;
  const directory = mkdtempSync(join(tmpdir(), "carillon-ca-"));
  try {
    const file = join(directory, "ca.pem");
    writeFileSync(file, authority.ca);
    expect(await outcomesWith({})).toMatchObject([{ kind: "retry" }]);
    expect(requests).toBe(0);
    expect(await outcomesWith({ CARILLON_CA_FILE: file })).toEqual([{ kind: "accepted" }]);
    expect(requests).toBe(1);
  } finally {
    rmSync(directory, { recursive: true });
    receiver.closeAllConnections();
    await new Promise((resolve) => receiver.close(resolve));
  }

  async function outcomesWith(env: NodeJS.ProcessEnv) {
    const channels = createChannels(readConfig({ ...env, CARILLON_ALLOW_LOOPBACK: "true" }));
    const webhook = channels.find(({ name }) => name === "webhook");
    if (webhook === undefined) throw new Error("no webhooks");
    const secrets = [`whsec_${Buffer.alloc(32, 9).toString("base64")}`];
    const url = `https://127.0.0.1:${port}/`;
    const destination = { channel: "webhook", destinationId: 1, name: "tls", url, secrets, batchSize: 1 } as const;
    try {
      return (await sendAll(webhook, destination, deliveriesTo("ada"))).outcomes;
    } finally {
      for (const channel of channels) await channel.close();
    }
  }
});
