import { describe, expect, it } from "vitest";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, type Story, StoryReceiver, userIds } from "../support/stories.ts";

const joining = 200_000;

describe("joining a moment that is planned already", storyLimit, () => {
  it("200,000 before the cut are grouped by population, some after it fall into a group all the same", async () => {
    await using story = await beginStory();
    const receiver = new StoryReceiver();
    await story.topic("livestream");
    // people who are known, and will all want to hear of it in the last seconds
    const beganAtMs = performance.now();
    await Promise.all([makeFans(story, 0, joining / 2), makeFans(story, joining / 2, joining)]);
    const tookMs = performance.now() - beganAtMs;
    // they are known for long, so Postgres knows how many there are
    await story.db.pool.query("analyze carillon.users, carillon.endpoints");
    const pace = { leadMs: 4000, window: 4000, chunk: 1000 };
    for (const name of ["one", "two"]) await story.startNode({ receiver, name, pace });
    // subscribing takes them a fraction of what making them took, however slow this machine is just now
    const at = await story.instantIn(pace.leadMs + Math.max(2000, tookMs));
    const [first] = await story.subscribe("livestream", at, ["first"]);
    const bucketId = await story.bucketOf(first?.scheduleId ?? "");

    await story.db.pool.query(
      `insert into carillon.subscriptions (schedule_id, user_number, hash_slot)
       select $1::bigint, user_number, hash_slot from carillon.users where user_id like 'fan-%'
       order by hash_slot, user_number`,
      [first?.scheduleId],
    );
    const { cut } = await story.one<{ cut: boolean }>("select cut_at is not null as cut from carillon.time_buckets");
    expect(cut, "this machine was too slow for the story: they have joined after the cut").toBe(false);
    await story.whenCut(bucketId);
    const late = userIds(40, "late");
    await story.subscribe("livestream", at, late);

    await story.whenClosed(bucketId);
    const { groups, population } = await story.one<{ groups: number; population: number }>(
      `select count(*)::int as groups, min(b.population) as population
       from carillon.groups g join carillon.time_buckets b using (bucket_id)`,
    );
    // estimated from a sample of slots: five in a hundred off at the most
    expect(Math.abs(population - joining)).toBeLessThan(joining * 0.05);
    expect(groups).toBe(Math.ceil(population / 5000));
    expect(receiver.log.length).toBe(joining + 1 + late.length);
    const reached = new Set(receiver.users);
    expect(reached.size).toBe(receiver.log.length);
    expect(late.filter((user) => !reached.has(user))).toEqual([]);
    const { node_max, sent } = await story.one<{ node_max: number; sent: number }>(
      `select max(sent)::float8 as node_max, sum(sent)::float8 as sent
       from (select node_id, sum(delivered) as sent from carillon.groups group by node_id) per_node`,
    );
    expect(node_max).toBeLessThan(sent);
    await story.check({ receiverLog: receiver.log, window: 4000 });
  });
});

/** Users `from` + 1 to `through`, with an endpoint each. */
async function makeFans(story: Story, from: number, through: number): Promise<void> {
  const portion = 25_000;
  for (let first = from + 1; first <= through; first += portion) {
    await story.db.pool.query(
      `with made as (
         insert into carillon.users (user_id) select 'fan-' || i from generate_series($1::int, $2::int) i
         returning user_number, hash_slot, user_id
       )
       insert into carillon.endpoints (hash_slot, user_number, ordinal, channel, address)
       select hash_slot, user_number, 1, 'memory', user_id from made order by hash_slot, user_number`,
      [first, Math.min(through, first + portion - 1)],
    );
  }
}
