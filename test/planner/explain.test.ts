import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { explainUser, type UserExplanation } from "../../src/planner/explain.ts";
import { planDue } from "../../src/planner/plan.ts";
import { createDestination, patchDestination } from "../../src/store/destinations.ts";
import { saveEndpoints } from "../../src/store/endpoints.ts";
import { cancelBucket, pauseSchedule, pauseTopic } from "../../src/store/halt.ts";
import { changeUser } from "../../src/store/moving.ts";
import { saveMute } from "../../src/store/mutes.ts";
import { savePlaces } from "../../src/store/places.ts";
import { savePreferences } from "../../src/store/preferences.ts";
import { type SavedSubscription, subscribe } from "../../src/store/subscribe.ts";
import type { When } from "../../src/store/subscription-request.ts";
import { endSubscription } from "../../src/store/subscriptions.ts";
import { addSuppressions } from "../../src/store/suppressions.ts";
import { createTopic, patchTopic, type TopicSettings } from "../../src/store/topics.ts";
import { createEngine, type Engine } from "../support/engine.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const tzdata = "2026z";
const memory = { channel: "memory" };

/** On a whole second. */
function instantAt(ms: number): string {
  return new Date(Math.floor(ms / 1000) * 1000).toISOString().replace(".000Z", "Z");
}

let names = 0;
function unique(what: string): string {
  names += 1;
  return `${what}-${names}`;
}

async function topicOf(settings: TopicSettings = {}): Promise<{ topic: string; topicId: number }> {
  const topic = unique("topic");
  return { topic, topicId: (await createTopic(engine.db, topic, settings)).topicId };
}

async function join(userId: string, topic: string, when: When, endpoints = [memory]): Promise<SavedSubscription> {
  const request = { userId, topic, when, endpoints, pointer: "" };
  const [saved] = await subscribe(engine.db, [request], { planHorizonMs: hourMs });
  if (saved === undefined) throw new Error("not subscribed");
  return saved;
}

function explain(userId: string, atMs: number | null = null): Promise<UserExplanation> {
  return explainUser(engine.db, userId, { atMs, tzdata });
}

/** Plans what is due within a day, as a planning node does. */
function plan(): Promise<unknown> {
  return planDue(engine.db, { horizonMs: dayMs, leadMs: 10_000, tzdata }, new AbortController().signal);
}

async function bucketOf(scheduleId: string): Promise<string> {
  const { bucket_id: bucketId } = await engine.one<{ bucket_id: string }>(
    "select bucket_id from carillon.time_buckets where schedule_id = $1",
    [scheduleId],
  );
  return bucketId;
}

/** A user with one moment in an hour. */
async function oneMoment(settings: TopicSettings = {}, endpoints = [memory]) {
  const made = await topicOf(settings);
  const userId = unique("user");
  const dueAtMs = Math.floor(Date.now() / 1000) * 1000 + hourMs;
  const saved = await join(userId, made.topic, { at: instantAt(dueAtMs) }, endpoints);
  return { ...made, userId, dueAtMs, saved };
}

describe("explainUser", () => {
  it("says when, in the user's zone, and by which endpoints", async () => {
    const { userId, dueAtMs, saved, topic } = await oneMoment();
    await changeUser(
      engine.db,
      userId,
      { create: true, zone: "Asia/Kathmandu", locale: null },
      { planHorizonMs: 3_600_000 },
    );
    const { moments, ...rest } = await explain(userId);
    expect(rest).toMatchObject({ userId, zone: "Asia/Kathmandu", tzdata, more: 0, absences: [] });
    expect(rest.through.getTime() - rest.from.getTime()).toBe(dayMs);
    expect(moments).toEqual([
      {
        dueAt: new Date(dueAtMs),
        local: expect.stringMatching(/\+05:45$/),
        verdict: "to be sent",
        whyNot: null,
        deliveries: [
          {
            ordinal: 1,
            channel: "memory",
            destination: null,
            address: userId,
            state: "to be sent",
            reason: null,
            heldUntil: null,
            acceptedAt: null,
            latenessMs: null,
          },
        ],
        subscriptionId: saved.id,
        scheduleId: saved.scheduleId,
        topic,
        rule: { kind: "instant", at: instantAt(dueAtMs) },
        place: null,
        occurrence: instantAt(dueAtMs),
        round: 0,
        bucketId: null,
        notes: [],
      },
    ]);
    expect(Date.parse(moments[0]?.local ?? "")).toBe(dueAtMs);
    await plan();
    expect((await explain(userId)).moments).toMatchObject([{ bucketId: await bucketOf(saved.scheduleId) }]);
  });

  it("changes nothing and needs no lock", async () => {
    const { userId, saved } = await oneMoment();
    await using other = await engine.begin();
    await other.client.query("select from carillon.schedules where schedule_id = $1 for update", [saved.scheduleId]);
    await other.client.query("select from carillon.users where user_id = $1 for update", [userId]);
    expect((await explain(userId)).moments).toHaveLength(1);
    expect(await engine.rows("select from carillon.time_buckets where schedule_id = $1", [saved.scheduleId])).toEqual(
      [],
    );
  });

  it("knows no user that there is not, and one without anything", async () => {
    await expect(explain("nobody")).rejects.toMatchObject({ code: "unknown_user" });
    await changeUser(engine.db, "idle", { create: true, zone: null, locale: null }, { planHorizonMs: 3_600_000 });
    expect(await explain("idle")).toMatchObject({ moments: [], absences: [], zone: null });
  });

  it("looks a day ahead of the time given, and no further", async () => {
    const { topic } = await topicOf();
    const userId = unique("user");
    const baseMs = Math.floor(Date.now() / 1000) * 1000 + 10 * dayMs;
    await join(userId, topic, { at: instantAt(baseMs) });
    await join(userId, topic, { at: instantAt(baseMs + dayMs) });
    const dues = async (atMs: number) =>
      (await explain(userId, atMs)).moments.map(({ dueAt }) => dueAt.getTime() - baseMs);
    expect(await dues(baseMs - 1000)).toEqual([0]);
    expect(await dues(baseMs)).toEqual([dayMs]);
    expect(await dues(baseMs - dayMs)).toEqual([0]);
    expect(await dues(baseMs + dayMs)).toEqual([]);
  });

  it("asks the gate as of the moment: a mute that ends before it silences nothing", async () => {
    const { topic } = await topicOf();
    const userId = unique("user");
    const daily: When = { daily: { time: "12:00", zone: "UTC" } };
    await join(userId, topic, daily);
    const noonMs = Math.floor(Date.now() / dayMs) * dayMs + 10 * dayMs + dayMs / 2;
    await saveMute(engine.db, userId, { topic, until: new Date(noonMs) });
    const verdictAt = async (atMs: number) => (await explain(userId, atMs)).moments.map(({ verdict }) => verdict);
    expect(await verdictAt(noonMs - dayMs - 1000)).toEqual(["not sent"]);
    // ends at the very moment: no longer muted then
    expect(await verdictAt(noonMs - 1000)).toEqual(["to be sent"]);
    await saveMute(engine.db, userId, { topic: null, until: null });
    const [moment] = (await explain(userId, noonMs + 100 * dayMs)).moments;
    expect(moment).toMatchObject({
      verdict: "not sent",
      whyNot: { code: "refused", text: "muted" },
      deliveries: [{ ordinal: 1, state: "not sent", reason: "muted" }],
    });
  });

  it("says what quiet hours hold, until when, and what they outlast; as of the moment, through a change of clocks", async () => {
    const { topic } = await topicOf({ expiresAfterMs: 6 * hourMs });
    const userId = unique("user");
    const zone = "Europe/Berlin";
    await join(userId, topic, { daily: { time: "23:30", zone } });
    await join(userId, topic, { daily: { time: "03:30", zone } });
    await join(userId, topic, { daily: { time: "12:00", zone } });
    await changeUser(engine.db, userId, { create: false, zone, locale: null }, { planHorizonMs: hourMs });
    await savePreferences(engine.db, userId, { preferences: [], quietHours: [{ topic, from: "22:00", to: "05:45" }] });
    const inNight = async () =>
      (await explain(userId, Date.parse("2030-03-30T12:00:00Z"))).moments.map(({ verdict, whyNot, deliveries }) => [
        verdict,
        whyNot?.text ?? null,
        deliveries[0]?.heldUntil?.toISOString() ?? null,
      ]);
    // 05:45 of summer time, five and a quarter hours after 23:30
    const end = "2030-03-31T03:45:00.000Z";
    expect(await inNight()).toEqual([
      ["held", null, end],
      ["held", null, end],
      ["to be sent", null, null],
    ]);
    await patchTopic(engine.db, topic, { expiresAfterMs: 5 * hourMs });
    expect(await inNight()).toEqual([
      ["not sent", "quiet hours", null],
      ["held", null, end],
      ["to be sent", null, null],
    ]);
    await patchTopic(engine.db, topic, { ignoresQuietHours: true });
    expect((await inNight()).map(([verdict]) => verdict)).toEqual(["to be sent", "to be sent", "to be sent"]);
  });

  it("says which endpoint comes first where the topic is content with one, and what the others wait for", async () => {
    const { userId, topic } = await oneMoment({ reach: "first" });
    await engine.rows(
      `insert into carillon.endpoints (hash_slot, user_number, ordinal, channel, address)
       select hash_slot, user_number, 2, 'memory', user_id || '#2' from carillon.users where user_id = $1`,
      [userId],
    );
    const told = async () => (await explain(userId)).moments[0];
    expect(await told()).toMatchObject({
      verdict: "to be sent",
      deliveries: [
        { ordinal: 1, state: "to be sent", reason: null },
        { ordinal: 2, state: "stands by", reason: "waits for memory" },
      ],
    });
    await patchTopic(engine.db, topic, { reach: "all" });
    expect((await told())?.deliveries.map(({ state }) => state)).toEqual(["to be sent", "to be sent"]);
    await patchTopic(engine.db, topic, { reach: "first" });
    await engine.rows("update carillon.endpoints set gone_at = now() where ordinal = 1 and address = $1", [userId]);
    expect((await told())?.deliveries).toMatchObject([{ ordinal: 2, state: "to be sent" }]);
  });

  it("says who has opted out or is on the suppression list", async () => {
    const { userId, topic } = await oneMoment();
    const told = async () => (await explain(userId)).moments.map(({ whyNot }) => whyNot?.text ?? null);
    await savePreferences(engine.db, userId, {
      preferences: [{ topic, channel: "memory", allowed: false }],
      quietHours: [],
    });
    expect(await told()).toEqual(["opted out"]);
    await addSuppressions(engine.db, [{ userId, reason: "legal", until: new Date(Date.now() + dayMs) }]);
    expect(await told()).toEqual(["suppression list"]);
    // its end comes before the moment
    await addSuppressions(engine.db, [{ userId, reason: "legal", until: new Date(Date.now() + hourMs / 2) }]);
    expect(await told()).toEqual(["opted out"]);
    await savePreferences(engine.db, userId, { preferences: [], quietHours: [] });
    expect(await told()).toEqual([null]);
  });

  it("says which endpoint is not reached, and why", async () => {
    await createDestination(engine.db, { name: "off", url: "http://192.0.2.1/", batchSize: 1 }, new Uint8Array(32));
    await patchDestination(engine.db, "off", { disabled: true }, new Uint8Array(32));
    const { userId } = await oneMoment();
    await saveEndpoints(engine.db, [{ userId, channel: "webhook", destination: "off", address: "x", pointer: "" }]);
    expect((await explain(userId)).moments).toMatchObject([
      {
        verdict: "to be sent",
        deliveries: [
          { ordinal: 1, state: "to be sent" },
          {
            ordinal: 2,
            channel: "webhook",
            destination: "off",
            address: "x",
            state: "not sent",
            reason: "destination disabled",
          },
        ],
      },
    ]);
    const nowhere = await oneMoment({}, []);
    expect((await explain(nowhere.userId)).moments).toMatchObject([
      { verdict: "not sent", whyNot: { text: "no endpoint" }, deliveries: [{ ordinal: null, reason: "no endpoint" }] },
    ]);
  });

  describe("says why not", () => {
    const whyNot = async (userId: string, atMs: number | null = null) =>
      (await explain(userId, atMs)).moments.map(({ whyNot: why }) => why);

    it("the topic or the schedule is paused", async () => {
      const paused = await oneMoment();
      await pauseSchedule(engine.db, paused.saved.scheduleId);
      const expiry = new Date(paused.dueAtMs + 600_000).toISOString();
      expect(await whyNot(paused.userId)).toEqual([
        { code: "schedule_paused", text: expect.stringContaining(`unless it is resumed before ${expiry}`) },
      ]);
      await pauseTopic(engine.db, paused.topicId);
      expect(await whyNot(paused.userId)).toMatchObject([{ code: "topic_paused" }]);
    });

    it("unsubscribed, and not for ever", async () => {
      const { userId, saved, topic } = await oneMoment();
      await endSubscription(engine.db, saved.id);
      expect(await whyNot(userId)).toMatchObject([
        { code: "left_before", text: expect.stringMatching(/^unsubscribed at/) },
      ]);
      await engine.rows(
        "update carillon.subscriptions set ended_at = ended_at - interval '8 days' where schedule_id = $1",
        [saved.scheduleId],
      );
      expect(await whyNot(userId)).toEqual([]);
      // who comes back counts again
      await join(userId, topic, { at: instantAt(Date.now() + hourMs / 2) });
      expect(await whyNot(userId)).toEqual([null]);
    });

    it("subscribed too late", async () => {
      const { userId, saved, dueAtMs } = await oneMoment();
      await engine.rows(
        "update carillon.subscriptions set subscribed_at = to_timestamp($2::float8 / 1000) where schedule_id = $1",
        [saved.scheduleId, dueAtMs + 1],
      );
      expect(await whyNot(userId)).toEqual([
        { code: "joined_later", text: `subscribed from ${new Date(dueAtMs + 1).toISOString()} on` },
      ]);
      await engine.rows(
        "update carillon.subscriptions set subscribed_at = to_timestamp($2::float8 / 1000) where schedule_id = $1",
        [saved.scheduleId, dueAtMs],
      );
      expect(await whyNot(userId)).toEqual([null]);
    });

    it("the time bucket is cancelled", async () => {
      const { userId, saved } = await oneMoment();
      await plan();
      const bucketId = await bucketOf(saved.scheduleId);
      await cancelBucket(engine.db, bucketId);
      expect(await whyNot(userId)).toEqual([{ code: "cancelled", text: `time bucket ${bucketId} is cancelled` }]);
    });

    /** A daily moment that came an hour ago while nobody planned. */
    async function missed(settings: TopicSettings) {
      const { topic } = await topicOf(settings);
      const userId = unique("user");
      const time = new Date(Date.now() - hourMs).toISOString().slice(11, 19);
      const saved = await join(userId, topic, { daily: { time, zone: "UTC" } });
      await engine.rows(
        `update carillon.schedules set planned_through = clock_timestamp() - interval '2 h',
           next_due_at = clock_timestamp() - interval '1 h' where schedule_id = $1`,
        [saved.scheduleId],
      );
      await engine.rows("update carillon.subscriptions set subscribed_at = to_timestamp(0) where schedule_id = $1", [
        saved.scheduleId,
      ]);
      return { userId, saved };
    }

    it.each([
      ["skip", 7_200_000, "missed"],
      ["latest", 600_000, "expired"],
      ["latest", 7_200_000, undefined],
    ] as const)(
      "missed, catching up with %s while it lasts %i ms: %s, before planning and after",
      async (catchUp, expiresAfterMs, code) => {
        const { userId } = await missed({ catchUp, expiresAfterMs });
        const agoMs = Date.now() - 2 * hourMs;
        const before = await whyNot(userId, agoMs);
        await plan();
        const after = await whyNot(userId, agoMs);
        expect(before[0]?.code).toBe(code);
        expect(after).toEqual(before);
      },
    );

    it("it had passed before the schedule was there", async () => {
      const { topic } = await topicOf();
      const userId = unique("user");
      const time = new Date(Date.now() - hourMs).toISOString().slice(11, 19);
      const saved = await join(userId, topic, { daily: { time, zone: "UTC" } });
      const agoMs = Date.now() - 2 * hourMs;
      expect(await whyNot(userId, agoMs)).toMatchObject([{ code: "joined_later" }]);
      await engine.rows("update carillon.subscriptions set subscribed_at = to_timestamp(0) where schedule_id = $1", [
        saved.scheduleId,
      ]);
      expect(await whyNot(userId, agoMs)).toMatchObject([{ code: "never_planned" }]);
    });
  });

  it("says which slot has no time, and why", async () => {
    const place = { key: "tromso", name: "Tromsø", latitude: 69.65, longitude: 18.96, zone: "Europe/Oslo" };
    await savePlaces(engine.db, [place], () => "");
    const { topic } = await topicOf();
    const userId = unique("user");
    await join(userId, topic, { timetable: { where: { key: "tromso" }, slot: "sunrise" } });
    const winterMs = Date.UTC(new Date().getUTCFullYear() + 1, 11, 20, 12);
    const { moments, absences } = await explain(userId, winterMs);
    expect(moments).toEqual([]);
    expect(absences).toMatchObject([
      { days: 2, code: "polar_night", topic, place: { key: "tromso" }, text: "no sunrise: the sun does not rise" },
    ]);
  });

  it("foresees where a corrected place will move a planned moment to", async () => {
    const key = unique("place");
    const place = { key, name: key, latitude: 30.04, longitude: 31.24, zone: "Africa/Cairo" };
    await savePlaces(engine.db, [place], () => "");
    const { topic } = await topicOf();
    const userId = unique("user");
    const saved = await join(userId, topic, { timetable: { where: { key }, slot: "dhuhr" } });
    await plan();
    const atMs = Date.now();
    const due = async () => (await explain(userId, atMs)).moments.map(({ dueAt }) => dueAt.toISOString());
    const before = await due();
    await savePlaces(engine.db, [{ ...place, longitude: 29.9 }], () => "");
    const foreseen = await due();
    expect(foreseen).not.toEqual(before);
    await plan();
    const stands = await engine.rows<{ due_at: Date }>(
      `select due_at from carillon.time_buckets
       where schedule_id = $1 and due_at > to_timestamp($2::float8 / 1000)
         and due_at <= to_timestamp($2::float8 / 1000) + interval '24 h'`,
      [saved.scheduleId, atMs],
    );
    expect(stands.map(({ due_at }) => due_at.toISOString())).toEqual(foreseen);
    expect(await due()).toEqual(foreseen);
  });
});
