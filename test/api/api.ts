import { randomBytes } from "node:crypto";
import type { Express } from "express";
import { pino } from "pino";
import supertest from "supertest";
import { createApp } from "../../src/api/app.ts";
import type { ApiDeps } from "../../src/api/deps.ts";
import { createKey } from "../../src/store/api-keys.ts";
import { savePlaces } from "../../src/store/places.ts";
import { createTopic } from "../../src/store/topics.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

/** An API over a database of its own, with a topic `live`, two places and a caller with each kind of key. */
export interface TestApi extends AsyncDisposable {
  readonly test: TestDatabase;
  readonly app: Express;
  readonly deps: ApiDeps;
  readonly admin: Caller;
  readonly subscriber: Caller;
  /** how many rows each table has that a request could have written */
  counts(): Promise<Record<string, number>>;
}

export type Caller = ReturnType<typeof callerOf>;

export async function startTestApi(overrides: Partial<ApiDeps> = {}): Promise<TestApi> {
  const test = await createTestDatabase({ max: 20 });
  const db = test.database;
  const deps: ApiDeps = {
    db,
    logger: pino({ level: "silent" }),
    secretKey: randomBytes(32),
    egressPolicy: { allowLoopback: true },
    planHorizonMs: 3_600_000,
    openOnLoopback: false,
    ...overrides,
  };
  const app = createApp(deps);
  await createTopic(db, "live", { title: "On air" });
  await savePlaces(db, [berlin, mecca], () => "");
  const admin = await createKey(db, { name: "admin", scopes: ["admin"] });
  const subscriber = await createKey(db, { name: "subscriber", scopes: ["subscribe"] });
  return {
    test,
    app,
    deps,
    admin: callerOf(app, admin.token),
    subscriber: callerOf(app, subscriber.token),
    counts: () => countRows(test),
    [Symbol.asyncDispose]: () => test[Symbol.asyncDispose](),
  };
}

export const berlin = {
  key: "berlin",
  name: "Berlin",
  country: "DE",
  latitude: 52.52,
  longitude: 13.405,
  zone: "Europe/Berlin",
};
export const mecca = {
  key: "mecca",
  name: "Mecca",
  country: "SA",
  latitude: 21.4225,
  longitude: 39.8262,
  zone: "Asia/Riyadh",
};

/** An instant so many seconds ahead, on whole seconds. */
export function inSeconds(seconds: number): string {
  return new Date(Math.ceil(Date.now() / 1000 + seconds) * 1000).toISOString().replace(".000Z", "Z");
}

function callerOf(app: Express, token: string) {
  const agent = supertest(app);
  const call = (method: "get" | "post" | "put" | "patch" | "delete") => (path: string, body?: string | object) => {
    const request = agent[method](path).set("authorization", `Bearer ${token}`);
    return body === undefined ? request : request.set("content-type", "application/json").send(body);
  };
  return { get: call("get"), post: call("post"), put: call("put"), patch: call("patch"), delete: call("delete") };
}

const writtenTables = [
  "users",
  "endpoints",
  "mutes",
  "topics",
  "places",
  "timetables",
  "destinations",
  "schedules",
  "subscriptions",
];

async function countRows(test: TestDatabase): Promise<Record<string, number>> {
  const counts = writtenTables.map((table) => `(select count(*)::int from carillon.${table}) as ${table}`);
  const { rows } = await test.database.pool.query<Record<string, number>>(`select ${counts.join(", ")}`);
  return rows[0] ?? {};
}
