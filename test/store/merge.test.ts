import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { listEndpoints, removeEndpoint, saveEndpoints } from "../../src/store/endpoints.ts";
import { nearestPlace, readPlace, savePlaces } from "../../src/store/places.ts";
import { subscribe } from "../../src/store/subscribe.ts";
import { endSubscription, readSubscription } from "../../src/store/subscriptions.ts";
import { createTimetable, readTimetable } from "../../src/store/timetables.ts";
import { createTopic } from "../../src/store/topics.ts";
import { readUser } from "../../src/store/users.ts";
import { countsOf, importText } from "../import/imported.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let test: TestDatabase;
const planHorizonMs = 3_600_000;

beforeAll(async () => {
  test = await createTestDatabase();
  await createTopic(test.database, "live", {});
  await test.database.pool.query(
    `insert into carillon.destinations (name, url, sealed_secrets)
     values ('crm', 'https://receiver.example/', array['\\x00'::bytea])`,
  );
  await savePlaces(test.database, [{ key: "berlin", name: "Berlin", latitude: 52.52, longitude: 13.405 }], String);
});
afterAll(() => test[Symbol.asyncDispose]());

/** Imports a text twice: the second time nothing may change, and no row may be written. */
async function imported(
  ...[kind, text, options]: Parameters<typeof importText> extends [unknown, ...infer R] ? R : never
) {
  const first = await importText(test.database, kind, text, options);
  const written = await rowVersions();
  const second = await importText(test.database, kind, text, options);
  const [inserted, changed, unchanged, bad] = countsOf(first);
  expect(countsOf(second)).toEqual([0, 0, inserted + changed + unchanged, bad]);
  expect(await rowVersions()).toEqual(written);
  return first;
}

/** Every row version of what an import writes, except its own record. */
async function rowVersions(): Promise<unknown> {
  const tables = ["places", "users", "endpoints", "subscriptions", "schedules", "timetables"];
  const asked = tables.map(
    (table) => `select '${table}' as name, count(*), max(xmin::text::bigint) as last from carillon.${table}`,
  );
  const { rows } = await test.database.pool.query(asked.join(" union all "));
  return rows;
}

describe("users", () => {
  it("are made, and get the zone and locale that are given, at their endpoints too", async () => {
    await importText(test.database, "users", ["user_id,zone,locale", "ada,UTC,en"]);
    await saveEndpoints(test.database, [{ userId: "ada", channel: "webhook", destination: "crm", pointer: "" }]);
    const result = await imported("users", [
      "user_id,zone,locale",
      "ada,europe/berlin,",
      "bob,,de",
      "bob,Asia/Tokyo,",
      "eve,,",
    ]);
    expect(countsOf(result)).toEqual([2, 1, 1, 0]);
    expect(await readUser(test.database, "ada")).toMatchObject({ zone: "Europe/Berlin", locale: "en" });
    expect(await readUser(test.database, "bob")).toMatchObject({ zone: "Asia/Tokyo", locale: "de" });
    expect(await readUser(test.database, "eve")).toMatchObject({ zone: null, locale: null });
    const { rows } = await test.database.pool.query(
      "select e.zone, e.locale from carillon.endpoints e join carillon.users using (user_number) where user_id = 'ada'",
    );
    expect(rows).toEqual([{ zone: "Europe/Berlin", locale: "en" }]);
  });

  it("take along what follows them when their zone changes, ten thousand at once", async () => {
    const users = Array.from({ length: 10_000 }, (_, index) => `mover-${index}`);
    const inZone = (zone: string) => ["user_id,zone", ...users.map((user) => `${user},${zone}`)];
    await importText(test.database, "users", inZone("Europe/Berlin"));
    const wishes = ["user_id,topic,time", ...users.map((user) => `${user},live,06:45`)];
    expect(countsOf(await imported("subscriptions", wishes))).toEqual([10_000, 0, 0, 0]);
    expect(countsOf(await imported("users", inZone("Asia/Tokyo")))).toEqual([0, 10_000, 0, 0]);
    const { rows } = await test.database.pool.query(
      `select c.rule ->> 'zone' as zone, count(*)::int as users
       from carillon.subscriptions s join carillon.schedules c using (schedule_id)
       where s.ended_at is null and c.rule ->> 'time' = '06:45:00' group by 1`,
    );
    expect(rows).toEqual([{ zone: "Asia/Tokyo", users: 10_000 }]);
  });

  it("keep every character of their ids", async () => {
    const ids = ["back\\slash", "\\N", 'quo"te', "\u2028line", "Ærøskøbing", "🕌", "a, b", "\\t"];
    const lines = ids.map((userId) => JSON.stringify({ userId }));
    expect(countsOf(await imported("users", lines))).toEqual([ids.length, 0, 0, 0]);
    for (const id of ids) expect(await readUser(test.database, id)).toMatchObject({ userId: id });
  });
});

describe("places", () => {
  it("are saved by their keys, with zones that are suggested where none is given", async () => {
    const result = await imported("places", [
      "key,name,country,latitude,longitude,zone,population,timetable",
      "tromso,Tromsø,NO,69.65,18.96,europe/oslo,41915,",
      "ushuaia,Ushuaia,AR,-54.8,-68.3,,56956,",
      "atlantis,Atlantis,,0,-30,,,tides",
    ]);
    expect(countsOf(result)).toEqual([2, 0, 0, 1]);
    expect(result.faults).toEqual([
      expect.objectContaining({ line: 4, code: "unknown_timetable", column: "timetable" }),
    ]);
    expect(result.state.zonesSuggested).toBe(2);
    expect(await readPlace(test.database, "tromso")).toMatchObject({
      name: "Tromsø",
      zone: "Europe/Oslo",
      zoneSource: "given",
      population: 41915,
      timetable: "prayer",
    });
    // right about the time, and wrong about the country: that is what a suggestion is
    expect(await nearestPlace(test.database, -54.7, -68.2)).toMatchObject({
      key: "ushuaia",
      zone: "America/Punta_Arenas",
      zoneSource: "suggested",
    });
  });

  it("keep a zone that was given when a map suggests another, until they are put elsewhere", async () => {
    const at = (latitude: number, zone?: string) => ({ key: "k", name: "K", latitude, longitude: -68.3, zone });
    const zoneOf = async () => {
      const { zone, zoneSource } = await readPlace(test.database, "k");
      return `${zone} ${zoneSource}`;
    };
    const ushuaia = "America/Argentina/Ushuaia";
    await savePlaces(test.database, [at(-54.8)], String);
    expect(await zoneOf()).toBe("America/Punta_Arenas suggested");
    await savePlaces(test.database, [at(-54.8, ushuaia)], String);
    expect(await zoneOf()).toBe(`${ushuaia} given`);
    expect(countsOf(await imported("places", ["key,name,latitude,longitude", "k,K,-54.8,-68.3"]))).toEqual([
      0, 0, 1, 0,
    ]);
    expect(await zoneOf()).toBe(`${ushuaia} given`);
    expect(countsOf(await imported("places", ["key,name,latitude,longitude", "k,K2,-54.8,-68.3"]))).toEqual([
      0, 1, 0, 0,
    ]);
    expect(await zoneOf()).toBe(`${ushuaia} given`);
    expect(countsOf(await imported("places", ["key,name,latitude,longitude", "k,K2,0,-68.3"]))).toEqual([0, 1, 0, 0]);
    expect(await zoneOf()).toBe("America/Manaus suggested");
  });

  it("hand the schedules there to the planner when they change, and leave the others alone", async () => {
    const rule = { timetable: { where: { key: "berlin" }, slot: "fajr" } };
    const [made] = await subscribe(
      test.database,
      [{ userId: "p", topic: "live", when: rule, endpoints: [], pointer: "" }],
      { planHorizonMs },
    );
    const planned = "update carillon.schedules set next_due_at = '2999-01-01' where schedule_id = $1";
    const asked = `select next_due_at <= carillon.clock() as now from carillon.schedules where schedule_id = $1`;
    await test.database.pool.query(planned, [made?.scheduleId]);
    await importText(test.database, "places", ["key,name,latitude,longitude", "berlin,Berlin,52.52,13.405"]);
    expect((await test.database.pool.query(asked, [made?.scheduleId])).rows).toEqual([{ now: false }]);
    await importText(test.database, "places", ["key,name,latitude,longitude", "berlin,Berlin,52.5,13.4"]);
    expect((await test.database.pool.query(asked, [made?.scheduleId])).rows).toEqual([{ now: true }]);
  });
});

describe("endpoints", () => {
  it("are registered once, under the next ordinal, and come back when they were gone", async () => {
    await saveEndpoints(test.database, [
      { userId: "mia", channel: "webhook", destination: "crm", address: "old", pointer: "" },
      { userId: "mia", channel: "webhook", destination: "crm", address: "gone", pointer: "" },
    ]);
    await removeEndpoint(test.database, "mia", 2);
    const result = await imported("endpoints", [
      "user_id,destination,address",
      "mia,crm,new",
      "mia,crm,old",
      "mia,crm,gone",
      "mia,crm,new",
      "noa,crm,",
      "noa,nowhere,x",
      "noa,,x",
    ]);
    expect(countsOf(result)).toEqual([2, 1, 2, 2]);
    expect(result.faults.map(({ line, code, column }) => [line, code, column])).toEqual([
      [7, "unknown_destination", "destination"],
      [8, "destination_mismatch", "destination"],
    ]);
    expect(
      (await listEndpoints(test.database, "mia")).map(({ ordinal, address, goneAt }) => [ordinal, address, goneAt]),
    ).toEqual([
      [1, "old", null],
      [2, "gone", null],
      [3, "new", null],
    ]);
    expect(await listEndpoints(test.database, "noa")).toMatchObject([{ ordinal: 1, address: "noa" }]);
  });

  it("are twenty a user, and those beyond are left out line by line", async () => {
    const lines = Array.from({ length: 23 }, (_, index) => `full,crm,address-${index}`);
    const result = await imported("endpoints", ["user_id,destination,address", ...lines, "empty,crm,"]);
    expect(countsOf(result)).toEqual([21, 0, 0, 3]);
    expect(result.faults.map(({ line, code }) => `${line} ${code}`)).toEqual([
      "22 too_many_endpoints",
      "23 too_many_endpoints",
      "24 too_many_endpoints",
    ]);
  });
});

describe("subscriptions", () => {
  const header = "user_id,topic,at,time,zone,days,place,latitude,longitude,slot,offset_minutes";

  it("are made for each way to say when, with one schedule for equal wishes", async () => {
    const result = await imported("subscriptions", [
      header,
      "s1,live,2999-01-01T12:00:00Z,,,,,,,,",
      "s2,live,2999-01-01T13:00:00+01:00,,,,,,,,",
      "s1,live,,07:30,europe/berlin,5 1,,,,,",
      "s2,live,,07:30:00,Europe/Berlin,1 5,,,,,",
      "s1,live,,,,,berlin,,,fajr,-10",
      "s2,live,,,,,,52.5,13.4,fajr,-10",
      "s2,live,,,,,,52.5,13.4,fajr,-10",
      "s1,live,1999-01-01T12:00:00Z,,,,,,,,",
      "s1,nope,2999-01-01T12:00:00Z,,,,,,,,",
      "s1,live,,25:30,UTC,,,,,,",
      "s1,live,,,,,nowhere,,,fajr,",
      "s1,live,,,,,,0,-30,fajr,",
      "s1,nope,,,,,berlin,,,brunch,",
    ]);
    expect(countsOf(result)).toEqual([6, 0, 1, 6]);
    expect(result.faults.map(({ line, code, column }) => [line, code, column])).toEqual([
      [9, "past_instant", "at"],
      [10, "unknown_topic", "topic"],
      [11, "malformed_time", "time"],
      [12, "unknown_place", "place"],
      [13, "far_from_any_place", "latitude"],
      [14, "unknown_topic", "topic"],
    ]);
    expect(result.faults[5]?.reason).toMatch(/^topic: .*"nope".*; slot: .*brunch/);
    const { rows } = await test.database.pool.query(
      `select schedule_id, count(*)::int as users from carillon.subscriptions s join carillon.users u using (user_number)
       where u.user_id in ('s1', 's2') and u.hash_slot = s.hash_slot group by schedule_id`,
    );
    expect(rows.map(({ users }) => users)).toEqual([2, 2, 2]);
  });

  it("come back where they had ended, and keep their place", async () => {
    const file = [header, "back,live,,08:15,UTC,,,,,,"];
    await importText(test.database, "subscriptions", file);
    const { rows } = await test.database.pool.query<{ id: string }>(
      `select schedule_id || '-' || user_number as id from carillon.subscriptions join carillon.users using (user_number)
       where user_id = 'back'`,
    );
    const id = rows[0]?.id ?? "";
    await endSubscription(test.database, id);
    expect(countsOf(await imported("subscriptions", file))).toEqual([0, 1, 0, 0]);
    expect(await readSubscription(test.database, id)).toMatchObject({ endedAt: null });
  });

  it("bring zone and endpoints along as JSON; one user too full is left out, and has left nothing behind", async () => {
    const endpoints = Array.from({ length: 20 }, (_, index) => ({ destination: "crm", address: `x${index}` }));
    const when = { topic: "live", daily: { time: "09:00", zone: "UTC" } };
    await saveEndpoints(test.database, [{ userId: "n2", channel: "webhook", destination: "crm", pointer: "" }]);
    const result = await imported(
      "subscriptions",
      [
        { userId: "n1", ...when, zone: "asia/tokyo", endpoints: endpoints.slice(0, 2) },
        { userId: "n2", ...when, zone: "Asia/Tokyo", endpoints },
        { userId: "n3", ...when },
      ].map((line) => JSON.stringify(line)),
    );
    expect(countsOf(result)).toEqual([2, 0, 0, 1]);
    expect(result.faults).toMatchObject([{ line: 2, code: "too_many_endpoints", pointer: "/endpoints/19" }]);
    expect(await readUser(test.database, "n1")).toMatchObject({ zone: "Asia/Tokyo" });
    expect(await listEndpoints(test.database, "n1")).toHaveLength(2);
    expect(await readUser(test.database, "n2")).toMatchObject({ zone: null });
    expect(await listEndpoints(test.database, "n2")).toHaveLength(1);
  });

  it("wake the planner for a moment that is near", async () => {
    await test.database.pool.query("delete from graphile_worker._private_jobs");
    const soon = new Date(Date.now() + 600_000).toISOString();
    await importText(test.database, "subscriptions", [header, `w,live,${soon},,,,,,,,`]);
    const { rows } = await test.database.pool.query("select task_identifier from graphile_worker.jobs");
    expect(rows).toEqual([{ task_identifier: expect.stringContaining("plan") }]);
  });
});

describe("timetables", () => {
  it("are made and changed by their names", async () => {
    await createTimetable(test.database, "city", { ...(await readTimetable(test.database, "prayer")).timetable });
    const result = await imported("timetables", [
      '{"name": "city", "kind": "prayer", "parameters": {"method": "Turkey"}}',
      '{"name": "new", "kind": "prayer"}',
      '{"name": "prayer", "kind": "prayer"}',
      '{"name": "worse", "kind": "tides"}',
    ]);
    expect(countsOf(result)).toEqual([1, 1, 1, 1]);
    expect(await readTimetable(test.database, "city")).toMatchObject({ timetable: { method: "Turkey" } });
  });
});
