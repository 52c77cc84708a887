import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { CarillonError } from "../../src/errors.ts";
import { changeUser, type MoveOptions, moveSubscription } from "../../src/store/moving.ts";
import { savePlaces } from "../../src/store/places.ts";
import { subscribe } from "../../src/store/subscribe.ts";
import type { When } from "../../src/store/subscription-request.ts";
import { endSubscription, readSubscription, type Subscription } from "../../src/store/subscriptions.ts";
import { createTopic, patchTopic } from "../../src/store/topics.ts";
import { parsePrayerTimetable } from "../../src/timetable/prayer.ts";
import { timeOf } from "../../src/timetable/timetable.ts";
import { sinceEver } from "../../src/timetable/versions.ts";
import { createEngine, type Engine } from "../support/engine.ts";
import { until } from "../support/world.ts";

const minuteMs = 60_000;
const dayMs = 86_400_000;
const options: MoveOptions = { planHorizonMs: 3_600_000 };

const cities = {
  ist: { key: "ist", name: "Istanbul", latitude: 41.0082, longitude: 28.9784, zone: "Europe/Istanbul" },
  ath: { key: "ath", name: "Athens", latitude: 37.9838, longitude: 23.7275, zone: "Europe/Athens" },
  rom: { key: "rom", name: "Rome", latitude: 41.9, longitude: 12.5, zone: "Europe/Rome" },
  // where the sun does not rise and set
  pol: { key: "pol", name: "The pole", latitude: 90, longitude: 0, zone: "UTC" },
} as const;
type City = keyof typeof cities;

let engine: Engine;
let users = 0;
let userId = "";
beforeAll(async () => {
  engine = await createEngine();
  await savePlaces(engine.db, Object.values(cities), String);
  await createTopic(engine.db, "prayer", { expiresAfterMs: 604_800_000 });
  await createTopic(engine.db, "other", {});
});
beforeEach(() => {
  users += 1;
  userId = `user-${users}`;
});
afterAll(() => engine[Symbol.asyncDispose]());

/** dhuhr of a city on the 10th of March 2025, or so many days later, epoch milliseconds; the farther west, the later */
function dhuhrMs(city: City, daysLater = 0): number {
  const place = { placeId: 1, ...cities[city], versions: sinceEver(parsePrayerTimetable({})) };
  return timeOf(place, "dhuhr", { year: 2025, month: 3, day: 10 + daysLater }) ?? Number.NaN;
}

/** carillon.clock() goes on from there. */
async function setClock(ms: number): Promise<void> {
  await engine.db.pool.query(
    `create or replace function carillon.clock() returns timestamptz language sql volatile parallel restricted
     as $$ select clock_timestamp() + ${ms - Date.now()} * interval '1 millisecond' $$`,
  );
}

async function join(when: When, rest: { topic?: string; zone?: string; user?: string } = {}): Promise<Subscription> {
  const { topic = "prayer", zone, user = userId } = rest;
  const request = { userId: user, topic, when, zone, endpoints: [], pointer: "" };
  const [saved] = await subscribe(engine.db, [request], options);
  if (saved === undefined) throw new Error("not subscribed");
  return saved;
}

const slot = (city: City, offsetsMinutes: readonly number[] = [0], name = "dhuhr"): When => ({
  timetable: { where: { key: city }, slot: name, offsetsMinutes },
});
/** In the user's own zone. */
const daily = (time = "07:30"): When => ({ daily: { time } });

const move = (id: string, city: City, more: Partial<MoveOptions> = {}) =>
  moveSubscription(engine.db, id, { key: city }, { ...options, ...more });

/** Where the user stands, by place or zone, in the order of the schedules. */
async function standing(): Promise<string[]> {
  const rows = await engine.rows<{ at: string }>(
    `select coalesce(p.key, c.rule ->> 'zone') as at
     from carillon.subscriptions s join carillon.schedules c using (schedule_id)
     left join carillon.places p using (place_id) join carillon.users u using (user_number)
     where u.user_id = $1 and s.ended_at is null order by c.schedule_id`,
    [userId],
  );
  return rows.map(({ at }) => at);
}

const codeOf = (run: Promise<unknown>): Promise<string> =>
  run.then(
    () => "done",
    (error: CarillonError) => error.code,
  );

describe("a subscription that moves", () => {
  it("ends at the old place and stands at the new one, whose next moment is told", async () => {
    await setClock(dhuhrMs("ist") - 10 * minuteMs);
    const old = await join(slot("ist", [-20, 0]));
    await engine.rows("delete from graphile_worker._private_jobs");
    const moved = await move(old.id, "ath");
    expect(moved).toMatchObject({ userId, topic: "prayer", endedAt: null, place: { key: "ath" } });
    expect(moved.rule).toEqual({ ...old.rule, placeId: moved.place?.placeId });
    expect(moved.left).toMatchObject({ id: old.id, place: { key: "ist" } });
    // the first of Istanbul's two came before they were there
    expect(moved.nextDueAt?.getTime()).toBe(dhuhrMs("ath") - 20 * minuteMs);
    expect(await readSubscription(engine.db, old.id)).toMatchObject({ movedTo: moved.id, nextDueAt: null });
    expect(await standing()).toEqual(["ath"]);
    expect(await engine.rows("select from graphile_worker.jobs where key = 'carillon.plan'")).toHaveLength(1);
  });

  it("answers the same when it is asked again, or is there already", async () => {
    await setClock(dhuhrMs("ist") - 10 * minuteMs);
    const old = await join(slot("ist"));
    const moved = await move(old.id, "ath");
    expect(await move(old.id, "ath")).toEqual(moved);
    expect(await move(moved.id, "ath")).toEqual({ ...moved, left: null });
    expect(await standing()).toEqual(["ath"]);
  });

  it.each<[string, City, () => Promise<Subscription>, string]>([
    ["has ended", "ath", async () => endSubscription(engine.db, (await join(slot("ist"))).id), "subscription_ended"],
    [
      "has moved on to elsewhere",
      "ath",
      async () => {
        const old = await join(slot("ist"));
        await move(old.id, "rom");
        return old;
      },
      "subscription_ended",
    ],
    ["has no place", "ath", () => join({ at: "2999-01-01T00:00:00Z" }), "subscription_has_no_place"],
    ["would never come there", "pol", () => join(slot("ist", [0], "maghrib")), "never_occurs"],
  ])("is refused where it %s", async (_, to, make, code) => {
    await setClock(dhuhrMs("ist") - 10 * minuteMs);
    const { id } = await make();
    const before = await standing();
    expect(await codeOf(move(id, to))).toBe(code);
    expect(await standing()).toEqual(before);
  });

  it("is refused where there is no such place, or none near, or no such subscription", async () => {
    const { id } = await join(slot("ist"));
    const to = (where: Parameters<typeof moveSubscription>[2]) => moveSubscription(engine.db, id, where, options);
    await expect(to({ key: "nowhere" })).rejects.toMatchObject({ code: "unknown_place", pointer: "/place" });
    await expect(to({ placeId: 999_999 })).rejects.toMatchObject({ code: "unknown_place", pointer: "/placeId" });
    await expect(to({ latitude: -40, longitude: -120 })).rejects.toMatchObject({
      code: "far_from_any_place",
      pointer: "/coordinates",
    });
    expect(await codeOf(move("1-999999999", "ath"))).toBe("unknown_subscription");
    expect(await standing()).toEqual(["ist"]);
  });

  it("is undone when it takes so long that a moment may have come in between", async () => {
    const { id } = await join(slot("ist"));
    const clock = [0, 5000];
    const slow = move(id, "ath", { now: () => clock.shift() ?? 5000 });
    expect(await codeOf(slow)).toBe("database_unavailable");
    expect(await standing()).toEqual(["ist"]);
    expect(await readSubscription(engine.db, id)).toMatchObject({ endedAt: null });
  });
});

describe("once per local day", () => {
  const comeIn = (city: City) => dhuhrMs(city) + minuteMs;

  it("begins behind the date that has come at the old place", async () => {
    await setClock(dhuhrMs("ist") - minuteMs);
    const old = await join(slot("ist"));
    await setClock(comeIn("ist"));
    const moved = await move(old.id, "ath");
    expect(moved.nextDueAt?.getTime()).toBe(dhuhrMs("ath", 1));
    expect(moved.subscribedAt.getTime()).toBeGreaterThan(dhuhrMs("ath"));
    // and back, and on to a third place: Istanbul's own row no longer knows
    const back = await move(moved.id, "ist");
    expect(back.nextDueAt?.getTime()).toBe(dhuhrMs("ist", 1));
    expect((await move(back.id, "rom")).nextDueAt?.getTime()).toBe(dhuhrMs("rom", 1));
  });

  it("takes each offset by itself", async () => {
    await setClock(dhuhrMs("ist") - 30 * minuteMs);
    const old = await join(slot("ist", [-20, 0]));
    await setClock(dhuhrMs("ist") - 5 * minuteMs);
    // the first has come at Istanbul, and is ahead at Athens; the second is ahead in both
    const moved = await move(old.id, "ath");
    expect(dhuhrMs("ath") - 20 * minuteMs).toBeGreaterThan(dhuhrMs("ist") - 5 * minuteMs);
    expect(moved.nextDueAt?.getTime()).toBe(dhuhrMs("ath"));
  });

  it("holds for who ends one subscription and subscribes elsewhere, and not for another topic", async () => {
    await setClock(dhuhrMs("ist") - minuteMs);
    const old = await join(slot("ist"));
    await setClock(comeIn("ist"));
    await endSubscription(engine.db, old.id);
    expect((await join(slot("ath"))).nextDueAt?.getTime()).toBe(dhuhrMs("ath", 1));
    expect((await join(slot("ath"), { topic: "other" })).nextDueAt?.getTime()).toBe(dhuhrMs("ath"));
    // who was not there when it came has it ahead
    expect((await join(slot("ath"), { user: "somebody-else" })).nextDueAt?.getTime()).toBe(dhuhrMs("ath"));
  });

  it("is remembered over an end and a return at the same place", async () => {
    await setClock(dhuhrMs("ist") - minuteMs);
    const old = await join(slot("ist"));
    await setClock(comeIn("ist"));
    await endSubscription(engine.db, old.id);
    const again = await join(slot("ist"));
    expect(again.id).toBe(old.id);
    expect((await move(again.id, "ath")).nextDueAt?.getTime()).toBe(dhuhrMs("ath", 1));
  });

  it("goes by what was planned, whatever a correction says since", async () => {
    await setClock(dhuhrMs("ist") - 30 * minuteMs);
    const old = await join(slot("ist"));
    // a moment that came half an hour before what the timetable says now
    await engine.rows(
      `insert into carillon.time_buckets (schedule_id, topic_id, occurrence, due_at, expires_at)
       select schedule_id, topic_id, $2, carillon.clock() + interval '1 second', carillon.clock() + interval '1 hour'
       from carillon.schedules where schedule_id = $1`,
      [old.scheduleId, `${old.place?.placeId}/dhuhr/2025-03-10`],
    );
    await setClock(dhuhrMs("ist") - 28 * minuteMs);
    expect((await move(old.id, "ath")).nextDueAt?.getTime()).toBe(dhuhrMs("ath", 1));
    await engine.rows("delete from carillon.time_buckets");
  });

  it("can be switched off, and on for other rules", async () => {
    const noon = Date.parse("2025-03-10T09:00:00Z");
    await setClock(noon - minuteMs);
    const old = await join(slot("ist"));
    await join(daily("12:00"), { zone: "Europe/Istanbul" });
    const another = "another";
    await join(daily("12:00"), { zone: "Europe/Istanbul", user: another });
    await setClock(comeIn("ist"));
    await patchTopic(engine.db, "prayer", { oncePerLocalDay: false });
    expect((await move(old.id, "ath")).nextDueAt?.getTime()).toBe(dhuhrMs("ath"));
    await setClock(noon + minuteMs);
    const changed = await changeUser(engine.db, userId, { zone: "Europe/Rome", create: false }, options);
    const following = changed.subscriptions.find(({ rule }) => rule.kind === "wall");
    expect(following?.nextDueAt).toEqual(new Date("2025-03-10T11:00:00Z"));
    await patchTopic(engine.db, "prayer", { oncePerLocalDay: true });
    const other = await changeUser(engine.db, another, { zone: "Europe/Rome", create: false }, options);
    expect(other.subscriptions[0]?.nextDueAt).toEqual(new Date("2025-03-11T11:00:00Z"));
    expect((await patchTopic(engine.db, "prayer", { oncePerLocalDay: null })).oncePerLocalDay).toBeNull();
  });
});

describe("a user who moves", () => {
  it("takes along what is at a place, and what follows the zone, which is the place's", async () => {
    await setClock(dhuhrMs("ist") - 10 * minuteMs);
    const dhuhr = await join(slot("ist"), { zone: "Europe/Istanbul" });
    const asr = await join(slot("rom", [0], "asr"));
    const follows = await join(daily());
    const fixed = await join({ daily: { time: "07:30", zone: "Europe/Istanbul" } });
    const where = { latitude: 37.9, longitude: 23.7 };
    const { user, subscriptions } = await changeUser(engine.db, userId, { where, create: false }, options);
    expect(user).toMatchObject({ userId, zone: "Europe/Athens", locale: null, created: false });
    expect(subscriptions.map(({ left }) => left?.id).toSorted()).toEqual([dhuhr.id, asr.id, follows.id].toSorted());
    expect(subscriptions.map(({ place, rule }) => place?.key ?? ("zone" in rule && rule.zone)).toSorted()).toEqual(
      ["Europe/Athens", "ath", "ath"].toSorted(),
    );
    expect(subscriptions.every(({ nextDueAt }) => nextDueAt !== null)).toBe(true);
    expect(await readSubscription(engine.db, fixed.id)).toMatchObject({ endedAt: null });
    // again: the same, and nothing left
    const again = await changeUser(engine.db, userId, { where, create: false }, options);
    expect(again.subscriptions).toEqual(subscriptions.map((each) => ({ ...each, left: null })));
  });

  it("keeps the zone that is given, and keeps what follows where there is none any more", async () => {
    const follows = await join(daily(), { zone: "Europe/Istanbul" });
    const place = { where: { key: "ath" }, zone: "Asia/Tokyo", create: false };
    expect((await changeUser(engine.db, userId, place, options)).user.zone).toBe("Asia/Tokyo");
    expect(await standing()).toEqual(["Asia/Tokyo"]);
    const none = { zone: null, locale: "el", create: false };
    expect((await changeUser(engine.db, userId, none, options)).user).toMatchObject({ zone: null, locale: "el" });
    expect(await standing()).toEqual(["Asia/Tokyo"]);
    expect(await readSubscription(engine.db, follows.id)).toMatchObject({ endedAt: expect.any(Date) });
  });

  it("stays altogether where something can't be moved, and hears of each", async () => {
    const maghrib = await join(slot("ist", [0], "maghrib"), { zone: "Europe/Istanbul" });
    const asr = await join(slot("ist", [0], "asr"));
    await join(daily());
    const before = await standing();
    const error = await changeUser(engine.db, userId, { where: { key: "pol" }, create: false }, options).catch(
      (thrown: CarillonError & { errors: CarillonError[] }) => thrown,
    );
    expect(error).toMatchObject({
      errors: [
        { code: "never_occurs", pointer: "/place", message: expect.stringContaining(maghrib.id) },
        { code: "never_occurs", pointer: "/place", message: expect.stringContaining(asr.id) },
      ],
    });
    expect(await standing()).toEqual(before);
    expect(await engine.one("select zone from carillon.users where user_id = $1", [userId])).toEqual({
      zone: "Europe/Istanbul",
    });
  });

  it("leaves behind what is over there", async () => {
    await setClock(dhuhrMs("ist") + minuteMs);
    const over = await join({ timetable: { where: { key: "ist" }, slot: "isha", endsOn: "2025-03-10" } });
    await setClock(dhuhrMs("ist", 2));
    const { subscriptions } = await changeUser(engine.db, userId, { where: { key: "ath" }, create: false }, options);
    expect(subscriptions).toMatchObject([{ id: over.id, left: null, nextDueAt: null }]);
  });

  it("brings two to one place together", async () => {
    const ids = [(await join(slot("ist"))).id, (await join(slot("rom"))).id];
    const { subscriptions } = await changeUser(engine.db, userId, { where: { key: "ath" }, create: false }, options);
    expect(subscriptions.map(({ left }) => left?.id)).toEqual(ids);
    expect(new Set(subscriptions.map(({ id }) => id)).size).toBe(1);
    expect(await standing()).toEqual(["ath"]);
  });

  it("is followed when a subscription brings the new zone, too", async () => {
    await join(daily(), { zone: "Europe/Istanbul" });
    await join(slot("ist"), { zone: "Europe/Rome" });
    expect((await standing()).toSorted()).toEqual(["Europe/Rome", "ist"]);
  });

  it("has to be there, unless it is to be made", async () => {
    expect(await codeOf(changeUser(engine.db, "nobody", { zone: "UTC", create: false }, options))).toBe("unknown_user");
    const { user } = await changeUser(engine.db, userId, { zone: "UTC", create: true }, options);
    expect(user).toMatchObject({ created: true, zone: "UTC" });
  });
});

it("takes as many statements for a hundred users who come from elsewhere as for one", async () => {
  const count = async (group: string, size: number) => {
    const people = Array.from({ length: size }, (_, index) => `${group}-${index}`);
    const all = (zone: string, whens: readonly When[]) =>
      people.flatMap((user) =>
        whens.map((when) => ({ userId: user, topic: "prayer", when, zone, endpoints: [], pointer: "" })),
      );
    await setClock(dhuhrMs("ist") - minuteMs);
    const saved = await subscribe(engine.db, all("Europe/Istanbul", [slot("ist"), daily()]), options);
    await setClock(dhuhrMs("ist") + minuteMs);
    for (const { id, rule } of saved) if (rule.kind === "timetable") await endSubscription(engine.db, id);
    let statements = 0;
    const connect = async () => {
      const client = await engine.db.pool.connect();
      const query = (...asked: Parameters<typeof client.query>) => {
        statements += 1;
        return Reflect.apply(client.query, client, asked);
      };
      return Object.assign(Object.create(client), { query, release: (error?: Error) => client.release(error) });
    };
    const db = { ...engine.db, pool: Object.assign(Object.create(engine.db.pool), { connect }) };
    const again = await subscribe(db, all("Europe/Athens", [slot("ath")]), options);
    expect(new Set(again.map(({ nextDueAt }) => nextDueAt?.getTime()))).toEqual(new Set([dhuhrMs("ath", 1)]));
    const { there } = await engine.one<{ there: number }>(
      `select count(*)::int as there from carillon.subscriptions s join carillon.schedules c using (schedule_id)
       join carillon.users u using (user_number)
       where u.user_id like $1 and s.ended_at is null and c.rule ->> 'zone' = 'Europe/Athens'`,
      [`${group}-%`],
    );
    expect(there).toBe(size);
    return statements;
  };
  // each schedule is there already
  await count("first", 1);
  expect(await count("many", 100)).toBe(await count("one", 1));
});

describe("at once", () => {
  it("two moves of one subscription: one wins, the other hears of it", async () => {
    const { id } = await join(slot("ist"));
    const codes = await Promise.all((["ath", "rom"] as const).map((city) => codeOf(move(id, city))));
    expect(codes.toSorted()).toEqual(["done", "subscription_ended"]);
    expect(await standing()).toHaveLength(1);
  });

  it("many moves of one user end at one place, with all they have", async () => {
    await join(slot("ist"), { zone: "Europe/Istanbul" });
    await join(slot("ist", [0], "asr"));
    await join(daily());
    const way = (["ath", "rom", "ist", "ath", "rom", "ath"] as const).map((key) =>
      changeUser(engine.db, userId, { where: { key }, create: false }, options),
    );
    await Promise.all(way);
    const [first, ...others] = (await standing()).filter((at) => at in cities);
    expect(others).toEqual([first]);
    expect(await engine.one("select zone from carillon.users where user_id = $1", [userId])).toEqual({
      zone: cities[first as City].zone,
    });
    expect(await standing()).toContain(cities[first as City].zone);
  });

  it("a move and who subscribes the same user elsewhere: the date that has come is known to both", async () => {
    await setClock(dhuhrMs("ist") - minuteMs);
    const { id } = await join(slot("ist"));
    await setClock(dhuhrMs("ist") + minuteMs);
    const [moved, joined] = await Promise.all([move(id, "ath"), join(slot("rom"))]);
    expect(moved.nextDueAt?.getTime()).toBe(dhuhrMs("ath", 1));
    expect(joined.nextDueAt?.getTime()).toBe(dhuhrMs("rom", 1));
  });

  it("an unsubscribe that is first leaves nothing to move", async () => {
    const { id, scheduleId } = await join(slot("ist"));
    await using other = await engine.begin();
    await other.client.query("update carillon.subscriptions set ended_at = carillon.clock() where schedule_id = $1", [
      scheduleId,
    ]);
    const moving = codeOf(move(id, "ath"));
    await waiting();
    await other.commit();
    expect(await moving).toBe("subscription_ended");
    expect(await standing()).toEqual([]);
  });

  it("an unsubscribe that comes second learns where they are now", async () => {
    const { id } = await join(slot("ist"));
    const moved = await move(id, "ath");
    expect(await endSubscription(engine.db, id)).toMatchObject({ movedTo: moved.id, endedAt: expect.any(Date) });
    expect(await standing()).toEqual(["ath"]);
  });

  it("somebody who makes the very schedule that is moved to", async () => {
    await setClock(dhuhrMs("ist") - 10 * minuteMs);
    const { id } = await join(slot("ist", [-7]));
    await using other = await engine.begin();
    await other.client.query(
      `insert into carillon.schedules (topic_id, rule, place_id, next_due_at)
       select c.topic_id, carillon.canonical_rule(c.rule || jsonb_build_object('placeId', p.place_id)), p.place_id, carillon.clock()
       from carillon.schedules c, carillon.places p
       where c.schedule_id = $1::bigint and p.key = 'ath'`,
      [id.split("-")[0]],
    );
    const moving = move(id, "ath");
    await waiting();
    await other.commit();
    expect((await moving).place?.key).toBe("ath");
    expect(await engine.rows("select from carillon.schedules where rule -> 'offsetsMinutes' = '[-7]'")).toHaveLength(2);
  });

  function waiting(): Promise<unknown> {
    const text = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    return until(async () => (await engine.rows(text)).length > 0, "the move waits for a lock");
  }
});

describe("what comes back within the seconds in which a move takes effect", () => {
  it("goes on as before", async () => {
    await setClock(dhuhrMs("ist") - 1500);
    const old = await join(slot("ist"));
    const away = await move(old.id, "ath");
    const back = await move(away.id, "ist");
    expect(back.id).toBe(old.id);
    expect(back.subscribedAt).toEqual(old.subscribedAt);
    expect(await readSubscription(engine.db, back.id)).not.toHaveProperty("movedTo");
    await setClock(dhuhrMs("ist") + dayMs / 24);
    expect((await move(back.id, "rom")).nextDueAt?.getTime()).toBe(dhuhrMs("rom", 1));
  });
});
