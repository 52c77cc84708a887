import { describe, expect, it } from "vitest";
import { type NodeProcess, quickSettings, storyLimit } from "../support/nodes.ts";
import { buildWorld, until, type World } from "../support/world.ts";

const connections = Number(quickSettings.CARILLON_CONNECTIONS_PER_HOST);

describe("zombie", storyLimit, () => {
  it("stopped beyond its lease and continued, it starts no new send and its stale writes are refused", async () => {
    const users = 900;
    let replyAfterMs = 100;
    await using world = await buildWorld({ users, receiver: { faults: () => ({ delayMs: replyAfterMs }) } });
    const [zombie] = await Promise.all([world.startNode("zombie"), world.startNode("heir")]);
    const moment = await world.plan();
    await until(() => world.log.filter(({ node }) => node === "zombie").length > 20, "the zombie is sending");
    await until(async () => {
      zombie.kill("SIGSTOP");
      // more than can be on the wire, so some are left whose turn to be sent comes when it goes on
      if ((await world.unsettledOf(zombie)) > 2 * connections) return true;
      zombie.kill("SIGCONT");
      return false;
    }, "the zombie is stopped with sends that have not begun");
    const left = await usersLeftBy(world, zombie);
    await until(async () => (await groupsHeldBy(world, zombie)) === 0, "its groups have been taken over");
    const sentBefore = world.log.filter(({ node }) => node === "zombie").length;
    expect(world.receiver.received, "the heir has not finished").toBeLessThan(users);

    zombie.kill("SIGCONT");
    await zombie.logged(/a group was lost/);
    replyAfterMs = 0;
    await world.closed(moment);
    const sentAfter = world.log.filter(({ node }) => node === "zombie").slice(sentBefore);
    // whatever it sends under a claim of its own is another try
    expect(sentAfter.filter(({ user, attempt }) => attempt === 0 && left.has(user))).toEqual([]);
    expect(await world.check(moment, { kills: 1 })).toEqual({ delivered: users });
    expect(await world.inDoubt(moment)).toBeGreaterThan(0);

    // it is sound again and takes its part in the next moment
    const next = await world.plan();
    await world.closed(next);
    expect(await world.check(next, { kills: 0 })).toEqual({ delivered: users });
    expect(new Set(world.log.filter(({ bucket }) => bucket === next.bucketId).map(({ node }) => node)).size).toBe(2);
    expect(zombie.ending).toBe(null);
  });
});

/** Whose deliveries have an intent of this node and no outcome. */
async function usersLeftBy(world: World, node: NodeProcess): Promise<ReadonlySet<string>> {
  const { rows } = await world.db.pool.query<{ user_id: string }>(
    `select u.user_id
     from carillon.chunk_members m
     join carillon.nodes n using (node_id)
     join carillon.users u using (user_number)
     where n.name = $1 and m.code is null`,
    [node.name],
  );
  return new Set(rows.map((row) => row.user_id));
}

async function groupsHeldBy(world: World, node: NodeProcess): Promise<number> {
  const { rows } = await world.db.pool.query<{ held: number }>(
    `select count(*)::int as held from carillon.groups join carillon.nodes n using (node_id)
     where n.name = $1 and claim_token is not null`,
    [node.name],
  );
  return rows[0]?.held ?? 0;
}
