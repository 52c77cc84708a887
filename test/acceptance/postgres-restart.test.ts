import { describe, expect, it } from "vitest";
import { type OwnServer, startOwnServer } from "../support/database.ts";
import { storyLimit } from "../support/nodes.ts";
import { buildWorld, sessionsOf, until, type World } from "../support/world.ts";

const users = 1200;

describe.concurrent("Postgres goes away mid-run", storyLimit, () => {
  it("restart -m immediate: the same processes deliver everything", () =>
    playThrough(async (_, own) => {
      await own.server.restartImmediate();
    }));

  it("kill -9 of a backend, which resets all of them: the same processes deliver everything", () =>
    playThrough(async (world, own, node) => {
      const [backend] = await sessionsOf(world, node);
      own.server.killBackend(backend ?? 0);
    }));
});

type Fault = (world: World, own: OwnServer, node: Awaited<ReturnType<World["startNode"]>>) => Promise<void>;

async function playThrough(fault: Fault): Promise<void> {
  await using own = await startOwnServer();
  // slow until Postgres is back, so that it goes away in the middle of the moment however slow this machine is
  let replyAfterMs = 100;
  await using world = await buildWorld({
    users,
    databaseUrl: own.url,
    receiver: { faults: () => ({ delayMs: replyAfterMs }) },
  });
  const nodes = await Promise.all([world.startNode("node-1"), world.startNode("node-2")]);
  const moment = await world.plan();
  await world.receiver.whenReceived(users * 0.1);
  const [first] = nodes;
  await fault(world, own, first);
  await until(async () => (await world.db.pool.query("select 1")).rowCount === 1, "Postgres answers again");
  await Promise.all(nodes.map((node) => node.logged(/a connection to Postgres broke/)));
  expect(world.receiver.received, "the moment was still under way").toBeLessThan(users);
  replyAfterMs = 0;
  await world.closed(moment);

  expect(await world.check(moment, { kills: 0, otherFaults: true })).toEqual({ delivered: users });
  expect(nodes.map(({ ending }) => ending)).toEqual([null, null]);
  expect(world.duplicates).toBeLessThanOrEqual(await world.inDoubt(moment));
  // the processes are sound afterwards, too: they take the next moment on, and end when they are asked to
  const next = await world.plan();
  await world.closed(next);
  expect(await world.check(next, { kills: 0 })).toEqual({ delivered: users });
  for (const node of nodes) node.kill("SIGTERM");
  expect(await Promise.all(nodes.map(({ exited }) => exited))).toEqual([
    { code: 0, signal: null },
    { code: 0, signal: null },
  ]);
}
