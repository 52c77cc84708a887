import { describe, expect, it } from "vitest";
import { storyLimit } from "../support/nodes.ts";
import { buildWorld } from "../support/world.ts";

describe("two workers, one bucket", storyLimit, () => {
  it.each([
    ["one request a user", 600, 1],
    ["batches of 40", 4000, 40],
  ])("share it, and reach everybody once and not early: %s", async (_, users, batchSize) => {
    await using world = await buildWorld({ users, batchSize, receiver: { delayMs: 10 } });
    await Promise.all(["node-1", "node-2"].map((name) => world.startNode(name)));
    const moment = await world.plan();
    await world.closed(moment);

    expect(await world.check(moment, { kills: 0 })).toEqual({ delivered: users });
    expect(world.log.length).toBe(users);
    expect(world.duplicates).toBe(0);
    expect(world.log.every((receipt) => receipt.receivedAtMs >= moment.dueAtMs)).toBe(true);
    const groupsByNode = Map.groupBy(
      new Set(world.log.map(({ node, group }) => `${node} ${group}`)),
      (each) => each.split(" ")[0],
    );
    expect([...groupsByNode.keys()].sort()).toEqual(["node-1", "node-2"]);
    // a group was one node's from start to end
    expect([...groupsByNode.values()].flat().length).toBe(8);
  });

  it("hold their shares ahead of the moment, so that every group is held when it comes", async () => {
    const lead = { env: { CARILLON_LEAD_MS: "3000" } };
    await using world = await buildWorld({ users: 80 });
    await Promise.all(["node-1", "node-2"].map((name) => world.startNode(name, lead)));
    for (let turn = 0; turn < 2; turn += 1) {
      const moment = await world.plan();
      await world.closed(moment);
      const { rows } = await world.db.pool.query<{ armed: number }>(
        `select count(*) filter (where g.started_at < b.due_at)::int as armed
         from carillon.groups g join carillon.time_buckets b using (bucket_id)
         where b.bucket_id = $1 group by g.node_id`,
        [moment.bucketId],
      );
      // chance deals the jobs out, so one or two groups may come to a node whose share is used up until the very moment
      expect(rows).toHaveLength(2);
      expect(Math.min(...rows.map(({ armed }) => armed))).toBeGreaterThanOrEqual(3);
    }
  });
});
