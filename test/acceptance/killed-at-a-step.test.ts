import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { describe, expect, it } from "vitest";
import { storyLimit } from "../support/nodes.ts";
import { buildWorld, endSessionsOf, killWithUnsettled, until, type World } from "../support/world.ts";

describe.concurrent("kill -9 at a named step", storyLimit, () => {
  it("after the claim, before the intent: nothing is in doubt, nobody is lost", async () => {
    const users = 200;
    await using world = await buildWorld({ users });
    // armed early, so that it is killed while it holds groups and waits for the moment
    const [victim] = await Promise.all([
      world.startNode("victim", { env: { CARILLON_LEAD_MS: "2000" } }),
      world.startNode("heir", { env: { CARILLON_LEAD_MS: "2000" } }),
    ]);
    const moment = await world.plan();
    await until(async () => (await groupsHeldBy(world, victim.name)) > 0, "the victim has armed a group");
    victim.kill("SIGKILL");
    await victim.exited;
    const held = await groupsHeldBy(world, victim.name);
    expect(await world.unsettledOf(victim)).toBe(0);
    await world.closed(moment);

    expect(await world.check(moment, { kills: 1 })).toEqual({ delivered: users });
    expect(await world.inDoubt(moment)).toBe(0);
    expect(world.log.length).toBe(users);
    expect(world.log.every(({ node }) => node === "heir")).toBe(true);
    const { rows } = await world.db.pool.query<{ rescued: number }>(
      "select count(*)::int as rescued from carillon.groups where bucket_id = $1 and rescues > 0",
      [moment.bucketId],
    );
    expect(rows).toEqual([{ rescued: held }]);
  });

  it.each(["at_least_once", "at_most_once"] as const)(
    "after the intent, before the first byte: in doubt although it was never sent (%s)",
    async (deliveryMode) => {
      const users = 200;
      await using world = await buildWorld({ users, deliveryMode });
      // takes connections and never says a word of TLS: nothing can be written to it
      await using silent = await startSilentServer();
      await setUrl(world, `https://127.0.0.1:${silent.port}/`);
      const victim = await world.startNode("victim");
      const moment = await world.plan();
      const unsettled = await killWithUnsettled(world, victim);
      expect(world.log.length).toBe(0);
      await setUrl(world, world.receiver.url);
      await world.startNode("heir");
      await world.closed(moment);

      const sentAgain = deliveryMode === "at_least_once";
      expect(await world.check(moment, { kills: 1 })).toEqual(
        sentAgain ? { delivered: users } : { delivered: users - unsettled, failed: unsettled },
      );
      expect(await world.inDoubt(moment)).toBe(unsettled);
      expect(world.log.length).toBe(sentAgain ? users : users - unsettled);
      expect(world.duplicates).toBe(0);
    },
  );

  it.each(["at_least_once", "at_most_once"] as const)(
    "after the 2xx, before the ledger: received, in doubt (%s)",
    async (deliveryMode) => {
      const users = 300;
      await using world = await buildWorld({ users, deliveryMode, receiver: { delayMs: 20 } });
      const victim = await world.startNode("victim");
      const moment = await world.plan();
      await world.receiver.whenReceived(1);
      const lock = await world.db.pool.connect();
      try {
        await lock.query("begin");
        await lock.query("select from carillon.groups where bucket_id = $1 for update", [moment.bucketId]);
        await until(() => waitsToRecord(world, victim.name), "an outcome waits for the group's row");
        victim.kill("SIGKILL");
        await victim.exited;
        await endSessionsOf(world, victim);
      } finally {
        await lock.query("rollback");
        lock.release();
      }
      const unsettled = await world.unsettledOf(victim);
      expect(unsettled).toBeGreaterThan(0);
      await world.startNode("heir");
      await world.closed(moment);

      const sentAgain = deliveryMode === "at_least_once";
      expect(await world.check(moment, { kills: 1 })).toEqual(
        sentAgain ? { delivered: users } : { delivered: users - unsettled, failed: unsettled },
      );
      expect(await world.inDoubt(moment)).toBe(unsettled);
      if (sentAgain) expect(world.duplicates).toBeGreaterThan(0);
      else expect(world.duplicates).toBe(0);
    },
  );
});

async function groupsHeldBy(world: World, node: string): Promise<number> {
  const { rows } = await world.db.pool.query<{ held: number }>(
    `select count(*)::int as held from carillon.groups g join carillon.nodes n using (node_id)
     where n.name = $1 and g.claim_token is not null`,
    [node],
  );
  return rows[0]?.held ?? 0;
}

async function waitsToRecord(world: World, node: string): Promise<boolean> {
  const { rowCount } = await world.db.pool.query(
    `select from pg_stat_activity
     where application_name = 'carillon worker ' || $1 and wait_event_type = 'Lock'
       and query like '%insert into carillon.outcomes%'`,
    [node],
  );
  return rowCount !== 0;
}

async function setUrl(world: World, url: string): Promise<void> {
  await world.db.pool.query("update carillon.destinations set url = $1", [url]);
}

async function startSilentServer(): Promise<{ port: number } & AsyncDisposable> {
  const server = createServer((socket) => socket.on("error", () => undefined));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
