import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createEventSender } from "../../src/channels/webhook-events.ts";
import { createLogger, rateLimited } from "../../src/logger.ts";
import { createDestination, generateSecret, patchDestination } from "../../src/store/destinations.ts";
import { readListener, removeListener, setListener } from "../../src/store/event-listeners.ts";
import { eventKinds } from "../../src/store/events.ts";
import { DestinationBook } from "../../src/worker/destination-book.ts";
import { tellListeners } from "../../src/worker/tell-listeners.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { type Answer, listenForEvents } from "../support/event-listener.ts";
import { until } from "../support/world.ts";

const secret = generateSecret();
const key = new Uint8Array(32).fill(3);
let test: TestDatabase;
let destinationId = 0;
beforeAll(async () => {
  test = await createTestDatabase();
  const made = { name: "ops", url: "http://127.0.0.1:9/", batchSize: 1, secret };
  destinationId = (await createDestination(test.database, made, key)).destination.destinationId;
});
afterAll(() => test[Symbol.asyncDispose]());
beforeEach(async () => {
  await removeListener(test.database, "ops");
  await setListener(test.database, "ops", eventKinds);
});

const happen = (count: number) =>
  test.database.pool.query(
    `insert into carillon.events (destination_id, kind, about)
     select $1, 'channel.stopped', jsonb_build_object('number', i) from generate_series(1, $2::int) i`,
    [destinationId, count],
  );
const waitsMs = async () => {
  const { rows } = await test.database.pool.query<{ failures: number; ms: number }>(
    `select failures, case when not_before > '-infinity' then (extract(epoch from not_before - clock_timestamp()) * 1000)::float8
       else 0 end as ms
     from carillon.event_listeners`,
  );
  return rows[0];
};
const waiting = async () => (await readListener(test.database.pool, "ops")).waiting;

/** A node's teller, and a listener. */
async function tell(answer?: Answer, secretKey = key) {
  const listening = await listenForEvents(secret, answer);
  await patchDestination(test.database, "ops", { url: listening.url }, key);
  const sender = createEventSender({ policy: { allowLoopback: true } });
  const stopping = new AbortController();
  const abandon = new AbortController();
  const told = tellListeners(
    {
      db: test.database,
      destinations: new DestinationBook(test.database, secretKey),
      sender,
      sweepMs: 20,
      leaseMs: 60_000,
      sendTimeoutMs: 30_000,
      random: () => 0.999,
      faults: rateLimited(createLogger("silent", "test")),
    },
    stopping.signal,
    abandon.signal,
  );
  const stop = async () => {
    stopping.abort();
    await told;
    await sender.close();
  };
  return {
    log: listening.log,
    when: listening.when,
    stopping,
    abandon,
    told,
    [Symbol.asyncDispose]: async () => {
      abandon.abort();
      await stop();
      await listening[Symbol.asyncDispose]();
    },
  };
}

describe("a listener", () => {
  it("gets a backlog at once, batch after batch, each event once", async () => {
    await happen(250);
    await using teller = await tell();
    await until(async () => (await waiting()) === 0, "all were taken");
    expect(new Set(teller.log.map(({ data }) => data.number)).size).toBe(250);
    expect(teller.log).toHaveLength(250);
  });

  it("that asks to wait gets nothing more until then", async () => {
    await happen(100);
    await using teller = await tell(() => 429);
    await until(async () => ((await waitsMs())?.failures ?? 0) > 0, "it is put off");
    expect((await waitsMs())?.ms).toBeGreaterThan(55_000);
    // its four connections; a batch has twenty
    expect(teller.log.length).toBeLessThanOrEqual(4);
    expect(await waiting()).toBe(100);
  });

  it("that refuses is left alone for longer and longer, and gets the rest once it takes one", async () => {
    await happen(40);
    let refusing = true;
    await using teller = await tell(() => (refusing ? 500 : 200));
    await until(async () => ((await waitsMs())?.failures ?? 0) >= 2, "it is put off twice");
    expect(teller.log.length).toBeLessThanOrEqual(60);
    refusing = false;
    await test.database.pool.query("update carillon.event_listeners set not_before = '-infinity'");
    await test.database.pool.query("update carillon.events set next_try_at = clock_timestamp()");
    await until(async () => (await waiting()) === 0, "all were taken");
    expect(await waitsMs()).toEqual({ failures: 0, ms: 0 });
    const taken = teller.log.filter(({ status }) => status === 200);
    expect(new Set(taken.map(({ id }) => id)).size).toBe(40);
  });

  it("whose secret can't be read is put off, and its events stay", async () => {
    await happen(1);
    await using teller = await tell(undefined, new Uint8Array(32));
    await until(async () => ((await waitsMs())?.failures ?? 0) > 0, "it is put off");
    expect(teller.log).toEqual([]);
    expect(await waiting()).toBe(1);
  });
});

describe("a node that stops", () => {
  it("waits for what is under way, and begins nothing new", async () => {
    await happen(1);
    await using teller = await tell(() => null);
    await teller.when(({ length }) => length === 1);
    teller.stopping.abort();
    await happen(1);
    teller.abandon.abort();
    await teller.told;
    expect(teller.log).toHaveLength(1);
    expect(await waiting()).toBe(2);
  });
});
