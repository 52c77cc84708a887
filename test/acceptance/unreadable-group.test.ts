import { describe, expect, it } from "vitest";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, type Story, StoryReceiver, userIds } from "../support/stories.ts";
import { until } from "../support/world.ts";

describe("a group whose users can't be read", storyLimit, () => {
  it.each(["subscriptions", "endpoints"] as const)(
    "is given back with a back-off while the others go on, and is delivered once it is repaired: %s",
    async (table) => {
      await using story = await beginStory();
      const receiver = new StoryReceiver();
      await story.topic("live", { groupCount: 8 });
      const at = await story.instantIn(2500);
      const users = userIds(400);
      const [saved] = await story.subscribe("live", at, users);
      const scheduleId = saved?.scheduleId ?? "";
      await breakable(story, table);
      // one slot: a group that can't be read must not keep the only hand there is
      await story.startNode({ receiver, pace: { slots: 1 } });
      const bucketId = await story.bucketOf(scheduleId);
      await story.whenCut(bucketId);
      // the third group's range, from its middle on: what comes before is readable
      await story.db.pool.query("insert into public.broken (first_slot, last_slot) values (20480, 24575)");

      await until(
        async () => (await story.rows("select from carillon.groups where finished_at is not null")).length === 7,
        "the seven others are done",
      );
      await until(async () => (await broken(story)).takeovers >= 2, "it was tried more than once");
      const { last_fault, claims, takeovers } = await broken(story);
      expect(last_fault).toMatch(/can't be read/);
      // a back-off lies between two tries: no more claims than faults, and one under way
      expect(claims).toBeLessThanOrEqual(takeovers + 1);
      const inRange = await story.rows<{ user_id: string }>(
        "select user_id from carillon.users where hash_slot between 16384 and 24575",
      );
      const inGroup = new Set(inRange.map(({ user_id }) => user_id));
      expect(inGroup.size).toBeGreaterThan(0);
      const others = users.filter((user) => !inGroup.has(user));
      expect(receiver.users.filter((user) => !inGroup.has(user)).toSorted()).toEqual(others.toSorted());

      await story.db.pool.query("delete from public.broken");
      await story.whenClosed(bucketId);
      expect(receiver.users.toSorted()).toEqual(users.toSorted());
      await story.check({
        receiverLog: receiver.log,
        expected: { bucketId, users: users.map((user) => ({ user, result: "delivered" })) },
      });
    },
  );
});

/** Puts a view in the table's place, through which the rows of the slots in `public.broken` can't be read. */
async function breakable(story: Story, table: "subscriptions" | "endpoints"): Promise<void> {
  await story.db.pool.query(`
    create table public.broken (first_slot integer not null, last_slot integer not null);
    create function public.readable(slot integer) returns boolean language plpgsql stable as $$
    begin
      if exists (select from public.broken where slot between first_slot and last_slot) then
        raise exception 'slot % can''t be read', slot;
      end if;
      return true;
    end $$;
    alter table carillon.${table} rename to ${table}_stored;
    create view carillon.${table} as select * from carillon.${table}_stored s where public.readable(s.hash_slot)`);
}

async function broken(story: Story): Promise<{ takeovers: number; claims: number; last_fault: string | null }> {
  return story.one("select takeovers, epoch as claims, last_fault from carillon.groups where first_slot = 16384");
}
