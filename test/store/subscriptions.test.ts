import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readSchedule } from "../../src/store/schedules.ts";
import { subscribe } from "../../src/store/subscribe.ts";
import type { SubscriptionRequest, When } from "../../src/store/subscription-request.ts";
import { endSubscription, readSubscription } from "../../src/store/subscriptions.ts";
import { createTopic } from "../../src/store/topics.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let test: TestDatabase;
beforeAll(async () => {
  test = await createTestDatabase();
  await createTopic(test.database, "live", {});
  await createTopic(test.database, "sale", {});
});
afterAll(() => test[Symbol.asyncDispose]());

const options = { planHorizonMs: 3_600_000 };
const request = (userId: string, when: When, rest: Partial<SubscriptionRequest> = {}): SubscriptionRequest => ({
  userId,
  topic: "live",
  when,
  endpoints: [],
  pointer: "",
  ...rest,
});
const far: When = { at: "2999-01-01T00:00:00Z" };

/** An instant so many milliseconds ahead by the database's clock, rounded up to a second. */
async function ahead(ms: number): Promise<string> {
  const { rows } = await test.database.pool.query<{ at: string }>(
    `select to_char(date_trunc('second', carillon.clock() at time zone 'UTC' + $1 * interval '1 ms' + interval '999 ms'),
       'YYYY-MM-DD"T"HH24:MI:SS"Z"') as at`,
    [ms],
  );
  return rows[0]?.at ?? "";
}

describe("subscribe", () => {
  it("answers in the order of the requests, whatever repeats", async () => {
    const at = { at: await ahead(60_000) };
    const saved = await subscribe(
      test.database,
      [request("b", far), request("a", at), request("b", far), request("b", at), request("a", at, { topic: "sale" })],
      options,
    );
    expect(saved.map((each) => [each.userId, each.topic, each.created])).toEqual([
      ["b", "live", true],
      ["a", "live", true],
      ["b", "live", false],
      ["b", "live", true],
      ["a", "sale", true],
    ]);
    expect(new Set(saved.map((each) => each.scheduleId)).size).toBe(3);
    expect(saved[0]?.id).toBe(saved[2]?.id);
    for (const each of saved) {
      expect(await readSubscription(test.database, each.id)).toEqual({ ...each, created: undefined });
    }
  });

  it("stands at the position that SQL gives it", async () => {
    const [saved] = await subscribe(test.database, [request("ünï-id", far)], options);
    const { rows } = await test.database.pool.query(
      `select s.hash_slot = carillon.hash_slot('ünï-id') as same_slot, s.schedule_id || '-' || s.user_number as id
       from carillon.subscriptions s join carillon.users u using (user_number) where user_id = 'ünï-id'`,
    );
    expect(rows).toEqual([{ same_slot: true, id: saved?.id }]);
  });

  it("takes a near moment, and promises only what is a second after the commit", async () => {
    const at = await ahead(3000);
    // the monotonic clock of this call jumps: as if the commit had taken 10 s
    const clock = [0, 10_000];
    const now = () => clock.shift() ?? 10_000;
    const [late] = await subscribe(test.database, [request("slow", { at })], { ...options, now });
    expect(late).toMatchObject({ created: true, nextDueAt: null });
    const next = await ahead(5000);
    const [soon] = await subscribe(test.database, [request("quick", { at: next })], options);
    expect(soon?.nextDueAt).toEqual(new Date(next));
  });

  it("promises the occurrence after, where the nearest is too near", async () => {
    const { rows } = await test.database.pool.query(
      "select to_char((carillon.clock() at time zone 'UTC') + interval '5 s', 'HH24:MI:SS') as time",
    );
    const clock = [0, 60_000];
    const [saved] = await subscribe(test.database, [request("daily", { daily: { time: rows[0].time, zone: "UTC" } })], {
      ...options,
      now: () => clock.shift() ?? 60_000,
    });
    const schedule = await readSchedule(test.database, saved?.scheduleId ?? "");
    const differenceMs = (saved?.nextDueAt?.getTime() ?? 0) - (schedule.nextDueAt?.getTime() ?? 0);
    // by now the schedule's own next may have become tomorrow's too
    expect([0, 86_400_000]).toContain(differenceMs);
    expect((saved?.nextDueAt?.getTime() ?? 0) - Date.now()).toBeGreaterThan(3_600_000);
  });

  it("keeps zone and locale that a request leaves out", async () => {
    await subscribe(test.database, [request("zoned", far, { zone: "Asia/Tokyo", locale: "ja" })], options);
    await subscribe(test.database, [request("zoned", far), request("zoned", far, { locale: "en" })], options);
    const { rows } = await test.database.pool.query("select zone, locale from carillon.users where user_id = 'zoned'");
    expect(rows).toEqual([{ zone: "Asia/Tokyo", locale: "en" }]);
  });

  it("does not write a subscription's time anew when it stands already", async () => {
    const [first] = await subscribe(test.database, [request("same", far)], options);
    const [second] = await subscribe(test.database, [request("same", far)], options);
    expect(second?.subscribedAt).toEqual(first?.subscribedAt);
    const ended = await endSubscription(test.database, first?.id ?? "");
    const [third] = await subscribe(test.database, [request("same", far)], options);
    expect(third?.subscribedAt.getTime()).toBeGreaterThanOrEqual(ended.endedAt?.getTime() ?? Number.POSITIVE_INFINITY);
  });

  it("takes as many statements for a thousand as for one", async () => {
    const count = async (users: number) => {
      const statements: string[] = [];
      const connect = async () => {
        const client = await test.database.pool.connect();
        return new Proxy(client, {
          get: (target, name) => {
            if (name !== "query") {
              const value = Reflect.get(target, name);
              return typeof value === "function" ? value.bind(target) : value;
            }
            return (text: string, values?: unknown[]) => {
              statements.push(text);
              return target.query(text, values);
            };
          },
        });
      };
      const db = { ...test.database, pool: Object.assign(Object.create(test.database.pool), { connect }) };
      const at = await ahead(100_000 + users * 1000);
      await subscribe(
        db,
        Array.from({ length: users }, (_, index) => request(`n${users}-${index}`, { at })),
        options,
      );
      return statements.length;
    };
    expect(await count(1000)).toBe(await count(1));
  });
});
