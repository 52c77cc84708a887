import { describe, expect, it } from "vitest";
import { moveSubscription } from "../../src/store/moving.ts";
import { savePlaces } from "../../src/store/places.ts";
import { subscribe } from "../../src/store/subscribe.ts";
import { endSubscription, type Subscription } from "../../src/store/subscriptions.ts";
import { localDate } from "../../src/timetable/civil-time.ts";
import { parsePrayerTimetable } from "../../src/timetable/prayer.ts";
import { timeOf } from "../../src/timetable/timetable.ts";
import { sinceEver } from "../../src/timetable/versions.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, createGate, type Story, StoryReceiver, storyPace, userIds } from "../support/stories.ts";
import { until } from "../support/world.ts";

const minuteMs = 60_000;
const dayMs = 86_400_000;
/** Noon comes to Athens some twenty minutes after Istanbul, and to Rome most of an hour after Athens. */
const cities = {
  ist: { key: "ist", name: "Istanbul", latitude: 41.0082, longitude: 28.9784, zone: "Europe/Istanbul" },
  ath: { key: "ath", name: "Athens", latitude: 37.9838, longitude: 23.7275, zone: "Europe/Athens" },
  rom: { key: "rom", name: "Rome", latitude: 41.9, longitude: 12.5, zone: "Europe/Rome" },
};
type City = keyof typeof cities;
const movers = userIds(3, "mover");

describe.concurrent("a user who moves to where the same noon is still ahead", storyLimit, () => {
  it("between cut and moment: is left out at the old place, and rings at the new one", async () => {
    await using story = await beginStory();
    const { receiver, join, at } = await begin(story);
    // room to move in after the cut: what comes within two seconds of the move is still the old place's
    const leadMs = 8000;
    const before = await join("ist", [...movers, "stays"], at("ist") - leadMs - 1000);
    await story.startNode({ receiver, pace: { leadMs } });
    const old = await story.bucketOf(before[0]?.scheduleId ?? "");
    await story.whenCut(old);
    for (const { id } of before.slice(0, 3)) await move(story, id, "ath");
    await story.whenClosed(old);
    expect(receiver.users).toEqual(["stays"]);

    const news = await closedAt(story, "ath", at("ath"), receiver);
    expect(
      receiver.log
        .filter(({ bucket }) => bucket === news)
        .map(({ user }) => user)
        .toSorted(),
    ).toEqual(movers);
    await story.check({ receiverLog: receiver.log });
  });

  it("within the last second before it: rings at the old place, and not again at the new one", async () => {
    await using story = await beginStory();
    const { receiver, join, at } = await begin(story);
    await join("ath", ["native"], at("ist") - minuteMs);
    const before = await join("ist", movers, at("ist") - 1000);
    for (const { id } of before) await move(story, id, "ath");
    await story.startNode({ receiver });
    await story.whenClosed(await story.bucketOf(before[0]?.scheduleId ?? ""));
    expect(receiver.users.toSorted()).toEqual(movers);
    await closedAt(story, "ath", at("ath"), receiver);
    expect(receiver.users.toSorted()).toEqual([...movers, "native"]);
    await story.check({ receiverLog: receiver.log });
  });

  it("while it is being sent: gets it at the old place, whether it was their turn or not; who leaves does not", async () => {
    await using story = await beginStory();
    const gate = createGate();
    const { receiver, join, at } = await begin(story, async () => {
      await gate.pass();
      return { kind: "accepted" };
    });
    const people = userIds(40, "user");
    await join("ath", ["native"], at("ist") - minuteMs);
    const before = await join("ist", people, at("ist") - 2000);
    const scheduleId = before[0]?.scheduleId ?? "";
    await story.startNode({ receiver, pace: { chunk: 5, window: 20, sendTimeoutMs: 1500 } });
    const bucketId = await story.bucketOf(scheduleId);
    const order = await story.firingOrder(scheduleId);
    await gate.reached;
    await until(() => receiver.log.length >= 5, "the first have their turn");
    const sent = new Set(receiver.users);
    const [last = "", left = "", ...rest] = order.filter((user) => !sent.has(user)).toReversed();
    const [first = ""] = sent;
    expect(rest.length).toBeGreaterThan(0);
    const idOf = (user: string) => before.find((each) => each.userId === user)?.id ?? "";
    const moved = await Promise.all([first, last, left].map((user) => move(story, idOf(user), "ath")));
    // who moved and then unsubscribes wants nothing any more, whatever came before
    await endSubscription(story.db, moved[2]?.id ?? "");
    gate.open();
    await story.whenClosed(bucketId);
    expect(receiver.users.toSorted()).toEqual(order.filter((user) => user !== left).toSorted());

    await closedAt(story, "ath", at("ath"), receiver);
    expect(receiver.users.filter((user) => [first, last].includes(user))).toHaveLength(2);
    expect(receiver.users).toContain("native");
    await story.check({ receiverLog: receiver.log, window: 20 });
  });

  it("after it: rings tomorrow, at the new place; and who moves back, at the old one", async () => {
    await using story = await beginStory();
    const { receiver, join, at } = await begin(story);
    await join("ath", ["native"], at("ist") - minuteMs);
    const [gone, returned, ended] = await join("ist", movers, at("ist") - 2000);
    if (!gone || !returned || !ended) throw new Error("not subscribed");
    await story.startNode({ receiver });
    await story.whenClosed(await story.bucketOf(gone.scheduleId));
    expect(receiver.users.toSorted()).toEqual(movers);

    expect((await move(story, gone.id, "ath")).nextDueAt?.getTime()).toBe(at("ath", 1));
    const away = await move(story, returned.id, "ath");
    expect((await move(story, away.id, "ist")).id).toBe(returned.id);
    await endSubscription(story.db, ended.id);
    expect((await subscribeTo(story, "ath", [ended.userId]))[0]?.nextDueAt?.getTime()).toBe(at("ath", 1));

    await closedAt(story, "ath", at("ath"), receiver);
    expect(receiver.users.toSorted()).toEqual([...movers, "native"]);

    const oldAgain = await closedAt(story, "ist", at("ist", 1), receiver);
    const newAgain = await closedAt(story, "ath", at("ath", 1), receiver);
    const at2 = (bucketId: string) =>
      receiver.log
        .filter(({ bucket }) => bucket === bucketId)
        .map(({ user }) => user)
        .toSorted();
    expect(at2(oldAgain)).toEqual([returned.userId]);
    expect(at2(newAgain)).toEqual([gone.userId, ended.userId, "native"].toSorted());
    expect(receiver.log).toHaveLength(4 + 1 + 3);
    await story.check({ receiverLog: receiver.log });
  });
});

type Outcomes = ConstructorParameters<typeof StoryReceiver>[0];

/** Noons of a day some days ago, which can be lived through with the clock. */
async function begin(story: Story, outcomeOf?: Outcomes) {
  const receiver = new StoryReceiver(outcomeOf);
  await savePlaces(story.db, Object.values(cities), String);
  // the groups' leases stay in the present, days after the moment
  await story.topic("prayer", { groupCount: 2, expiresAfterMs: 604_800_000 });
  const today = localDate(Date.now() - 4 * dayMs, "UTC");
  const at = (city: City, daysLater = 0) => {
    const date = localDate(Date.UTC(today.year, today.month - 1, today.day + daysLater, 12), "UTC");
    const place = { placeId: 1, ...cities[city], versions: sinceEver(parsePrayerTimetable({})) };
    return timeOf(place, "dhuhr", date) ?? Number.NaN;
  };
  const join = async (city: City, users: readonly string[], nowMs: number) => {
    receiver.clockShiftMs = await story.setClock(new Date(nowMs).toISOString());
    return subscribeTo(story, city, users);
  };
  return { receiver, at, join };
}

function subscribeTo(story: Story, city: City, users: readonly string[]): Promise<Subscription[]> {
  const requests = users.map((userId) => ({
    userId,
    topic: "prayer",
    when: { timetable: { where: { key: city }, slot: "dhuhr" } },
    endpoints: [{ channel: "memory" }],
    pointer: "",
  }));
  return subscribe(story.db, requests, { planHorizonMs: storyPace.horizonMs });
}

function move(story: Story, id: string, city: City) {
  return moveSubscription(story.db, id, { key: city }, { planHorizonMs: storyPace.horizonMs });
}

/** Lives through the city's moment at that instant, with the nodes that there are. @returns its bucket */
async function closedAt(story: Story, city: City, dueAtMs: number, receiver: StoryReceiver): Promise<string> {
  receiver.clockShiftMs = await story.setClock(new Date(dueAtMs - 2000).toISOString());
  return until(async () => {
    const [bucket] = await story.rows<{ bucket_id: string }>(
      `select b.bucket_id from carillon.time_buckets b
       join carillon.schedules s using (schedule_id) join carillon.places p using (place_id)
       where p.key = $1 and b.due_at = to_timestamp($2::float8 / 1000) and b.closed_at is not null`,
      [city, dueAtMs],
    );
    return bucket?.bucket_id;
  }, `noon in ${cities[city].name} is over`);
}
