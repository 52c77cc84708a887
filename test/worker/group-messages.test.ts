import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Delivery } from "../../src/channels/channel.ts";
import { createMemoryChannel } from "../../src/channels/memory.ts";
import { savePlaces } from "../../src/store/places.ts";
import { deliverGroup } from "../../src/worker/deliver-group.ts";
import { createEngine, type Engine, type SeededMoment } from "../support/engine.ts";
import { checkInvariants } from "../support/invariants.ts";
import { announcing, heldGroup, workerContext } from "./worker-context.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

/** A moment whose topic says this. */
async function momentSaying(texts: Record<string, string | null>, options: Parameters<Engine["moment"]>[0] = {}) {
  const moment = await engine.moment(options);
  const columns = Object.keys(texts);
  await engine.rows(
    `update carillon.topics set ${columns.map((column, at) => `${column} = $${at + 2}`).join(", ")} where topic_id = $1`,
    [moment.topicId, ...columns.map((column) => texts[column])],
  );
  return moment;
}

async function deliver(moment: SeededMoment, changed: Parameters<typeof workerContext>[1] = {}) {
  const sent: Delivery[] = [];
  const channel = createMemoryChannel({ log: (deliveries) => sent.push(...deliveries) });
  const worker = await workerContext(engine, { channels: new Map([["memory", channel]]), ...changed });
  const end = await deliverGroup(worker, heldGroup(await engine.claim(moment)));
  return { sent, end, worker };
}

const statesOf = async ({ bucketId }: SeededMoment) =>
  engine.rows<{ state: string; members: number }>(
    `select o.state || ': ' || o.reason as state, count(*)::int as members
     from carillon.chunk_members m join carillon.outcome_codes o using (code) where m.bucket_id = $1 group by 1 order by 1`,
    [bucketId],
  );

describe("a group's messages", () => {
  it("are one object where all read the same, over its chunks and over groups of the topic", async () => {
    const moment = await momentSaying(
      { title: "On {{ topic.name | upcase }}", link: "https://example.com/" },
      {
        users: 60,
        groups: 2,
      },
    );
    const { sent, worker } = await deliver(moment);
    const second = await engine.claim(moment, 1);
    expect(new Set(sent.map(({ message }) => message)).size).toBe(1);
    expect(sent[0]?.message).toMatchObject({
      title: expect.stringMatching(/^On TOPIC-\d+$/),
      link: "https://example.com/",
    });
    const others: Delivery[] = [];
    const channel = createMemoryChannel({ log: (deliveries) => others.push(...deliveries) });
    await deliverGroup({ ...worker, channels: new Map([["memory", channel]]) }, heldGroup(second));
    expect(others.length).toBeGreaterThan(0);
    expect(new Set([...sent, ...others].map(({ message }) => message)).size).toBe(1);
  });

  it("are read anew when the topic says something else", async () => {
    const moment = await momentSaying({ title: "before" }, { users: 20, groups: 2 });
    const { sent, worker } = await deliver(moment);
    await engine.rows("update carillon.topics set title = 'after' where topic_id = $1", [moment.topicId]);
    const later: Delivery[] = [];
    const channel = createMemoryChannel({ log: (deliveries) => later.push(...deliveries) });
    await deliverGroup(
      { ...worker, channels: new Map([["memory", channel]]) },
      heldGroup(await engine.claim(moment, 1)),
    );
    expect(new Set(sent.map(({ message }) => message.title))).toEqual(new Set(["before"]));
    expect(new Set(later.map(({ message }) => message.title))).toEqual(new Set(["after"]));
  });

  it("name their users, whose ids are looked up a chunk at a time, and only then", async () => {
    const naming = await momentSaying(
      { title: "{{ user.id }}", body: "{{ place.name | default: 'nowhere' }}" },
      { users: 60 },
    );
    const asked: string[] = [];
    const db = announcing(engine.db, async (statement) => {
      asked.push(statement);
    });
    const { sent } = await deliver(naming, { db });
    expect(sent).toHaveLength(60);
    for (const { address, message } of sent)
      expect(message).toMatchObject({ title: address.split("#")[0], body: "nowhere" });
    const chunks = await engine.rows("select from carillon.chunks where bucket_id = $1", [naming.bucketId]);
    expect(asked.filter((statement) => statement === "user_ids")).toHaveLength(chunks.length);
    asked.length = 0;
    await deliver(await momentSaying({ title: "{{ due | time }}" }), { db });
    expect(asked).not.toContain("user_ids");
    expect(asked.length).toBeGreaterThan(0);
  });

  it("name the place that the schedule depends on", async () => {
    const moment = await momentSaying({ title: "{{ place.name }}" });
    await savePlaces(
      engine.db,
      [{ key: "berlin", name: "Berlin", latitude: 52.5, longitude: 13.4, zone: "Europe/Berlin" }],
      () => "",
    );
    await engine.rows(
      "update carillon.schedules set place_id = (select place_id from carillon.places where key = 'berlin') where schedule_id = $1",
      [moment.scheduleId],
    );
    const { sent } = await deliver(moment);
    expect(new Set(sent.map(({ message }) => message.title))).toEqual(new Set(["Berlin"]));
    expect(new Set(sent.map(({ message }) => message)).size).toBe(1);
  });

  it("that can't be rendered are rejected one by one, and the others go on", async () => {
    const moment = await momentSaying(
      { title: "{% if user.id contains '-1' %}{{ due | add_minutes: user.id }}{% endif %}ok" },
      { users: 30 },
    );
    const unwritable = moment.users.filter(({ userId }) => userId.split("user")[1]?.startsWith("-1"));
    const { sent, end } = await deliver(moment);
    expect(unwritable.length).toBeGreaterThan(5);
    // chunks may overtake each other while user ids are looked up
    expect(sent.map(({ address }) => address.split("#")[0]).toSorted()).toEqual(
      moment.users
        .filter((user) => !unwritable.includes(user))
        .map(({ userId }) => userId)
        .toSorted(),
    );
    expect(end).toBe("finished");
    expect(await statesOf(moment)).toEqual([
      { state: "delivered: accepted", members: 30 - unwritable.length },
      { state: "failed: rejected", members: unwritable.length },
    ]);
    await checkInvariants({
      db: engine.db,
      receiverLog: null,
      window: 100,
      mode: "at_least_once",
      kills: 0,
      expected: { bucketId: moment.bucketId, users: [] },
    });
  });

  it("that nobody can read fail for everybody, and the group ends", async () => {
    const moment = await momentSaying({ title: "{{ nothing }}" }, { users: 40 });
    const { sent, end } = await deliver(moment);
    expect([sent, end]).toEqual([[], "finished"]);
    expect(await statesOf(moment)).toEqual([{ state: "failed: rejected", members: 40 }]);
  });

  it("wait for another try where what they mention can't be read just now", async () => {
    const moment = await momentSaying({ title: "{{ user.id }}" });
    let broken = true;
    const db = announcing(engine.db, async (statement) => {
      if (statement !== "user_ids" || !broken) return;
      broken = false;
      throw new Error("not now");
    });
    const { sent, end } = await deliver(moment, { db });
    expect(end).toBe("finished");
    expect(sent.map(({ attempt }) => attempt)).toEqual(moment.users.map(() => 1));
    expect(sent.map(({ message }) => message.title)).toEqual(moment.users.map(({ userId }) => userId));
  });
});
