import { describe, expect, it } from "vitest";
import { planDue } from "../../src/planner/plan.ts";
import { cutBuckets } from "../../src/store/cut.ts";
import { storyLimit } from "../support/nodes.ts";
import { buildWorld, endSessionsOf, until, type World } from "../support/world.ts";

const groups = 4;

describe("killed between job and claim", storyLimit, () => {
  it("leaves groups whose jobs are locked by nobody alive; the sweep wakes them", async () => {
    const users = 120;
    await using world = await buildWorld({ users, groups });
    const planning = planInHere(world);
    const moment = await world.plan();
    await planning;
    const { groups: cut } = await cutBuckets(world.db, moment.dueAtMs + 1000, cutOptions);
    expect(cut).toBe(groups);

    const lock = await world.db.pool.connect();
    try {
      // every claim waits here, so each job that is taken is taken by somebody who does not get to claim
      await lock.query("begin");
      await lock.query("lock table carillon.groups in access exclusive mode");
      const victim = await world.startNode("victim");
      await until(async () => (await lockedJobs(world)) === groups, "the victim has taken every job");
      victim.kill("SIGKILL");
      await victim.exited;
      await endSessionsOf(world, victim);
    } finally {
      await lock.query("rollback");
      lock.release();
    }
    expect(await lockedJobs(world)).toBe(groups);
    const { rows } = await world.db.pool.query("select distinct epoch, started_at from carillon.groups");
    expect(rows).toEqual([{ epoch: 0, started_at: null }]);

    const heir = await world.startNode("heir");
    expect(await heir.logged(/the sweep found work/)).toContain(`"wokenGroups":${groups}`);
    await world.closed(moment);
    expect(await world.check(moment, { kills: 1 })).toEqual({ delivered: users });
    expect(await world.inDoubt(moment)).toBe(0);
    expect(world.log.length).toBe(users);
  });
});

const cutOptions = { groupTarget: 5000, groupsPerNode: 4, groupFloor: 500, aliveMs: 2000, batch: 100 };

/** No node runs yet, so the schedule is planned in here as soon as it is there. */
async function planInHere(world: World): Promise<void> {
  await until(async () => {
    const done = await planDue(world.db, { horizonMs: 120_000, leadMs: 600 }, AbortSignal.timeout(10_000));
    return done.buckets === 1;
  }, "the schedule is there to be planned");
}

async function lockedJobs(world: World): Promise<number> {
  const { rows } = await world.db.pool.query<{ locked: number }>(
    `select count(*)::int as locked from graphile_worker.jobs
     where task_identifier = 'carillon.group' and locked_by is not null`,
  );
  return rows[0]?.locked ?? 0;
}
