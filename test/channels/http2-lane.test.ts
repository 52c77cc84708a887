import { once } from "node:events";
import { constants } from "node:http2";
import { connect, type Socket } from "node:net";
import { setTimeout } from "node:timers/promises";
import { createServer as createTlsServer } from "node:tls";
import { describe, expect, it } from "vitest";
import { guardedConnector } from "../../src/channels/egress-guard.ts";
import { Http2Lane, type Http2LaneOptions } from "../../src/channels/http2-lane.ts";
import type { Ending, Parcel, Source } from "../../src/channels/lane.ts";
import { ca, localCertificate, type ReceivedStream, startHttp2Server } from "./http2-server.ts";
import { startRawServer } from "./raw-server.ts";

const ok = (request: ReceivedStream) => request.answer(200);

function laneTo(url: URL, options: Partial<Http2LaneOptions> = {}) {
  const connector = guardedConnector({ allowLoopback: true }, 1_000, undefined, { http2: true, ca });
  const lane = new Http2Lane(url, { sessionsMax: 1, ...options }, connector);
  return Object.assign(lane, { [Symbol.asyncDispose]: () => lane.close() });
}

interface Sending extends Source {
  readonly endings: readonly (Ending | undefined)[];
  readonly done: Promise<readonly Ending[]>;
  /** how many have been given out */
  readonly begun: number;
}

function sending(count: number, parcelOf: (index: number) => Partial<Parcel> = () => ({})): Sending {
  const endings: (Ending | undefined)[] = new Array(count).fill(undefined);
  const done = Promise.withResolvers<readonly Ending[]>();
  let begun = 0;
  let ended = 0;
  const end = (index: number, ending: Ending) => {
    if (endings[index] !== undefined) done.reject(new Error(`${index} ended twice`));
    endings[index] = ending;
    ended += 1;
    if (ended === count) done.resolve(endings.filter((each) => each !== undefined));
  };
  return {
    endings,
    done: done.promise,
    get begun() {
      return begun;
    },
    next() {
      if (begun === count) return null;
      const index = begun;
      begun += 1;
      return {
        path: `/${index}`,
        headers: ["content-type", "application/json"],
        body: Buffer.from(`body ${index}`),
        timeoutMs: 20_000,
        replyBytesMax: 1_000,
        keepReply: false,
        mayBegin: () => true,
        ended: (ending) => end(index, ending),
        ...parcelOf(index),
      };
    },
    giveUp(ending) {
      for (let index = begun; index < count; index += 1) end(index, ending);
      begun = count;
    },
  };
}

function tally(endings: readonly (Ending | undefined)[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const ending of endings) {
    const kind = ending === undefined ? "open" : ending.kind;
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

const reasonOf = (ending: Ending | undefined) => (ending && "error" in ending ? ending.error.message : undefined);
const codeOf = (ending: Ending | undefined) =>
  ending && "error" in ending && "code" in ending.error ? ending.error.code : undefined;

describe("a request and its reply", () => {
  it("arrive whole", async () => {
    await using server = await startHttp2Server((request) =>
      request.answer(429, { "retry-after": "7", date: "Tue, 24 Nov 2026 10:00:00 GMT" }, `no ${request.body}`),
    );
    await using lane = laneTo(server.url);
    const source = sending(1, () => ({ keepReply: true, headers: ["x-a", "1"] }));
    lane.post(source);
    const [ending] = await source.done;
    expect(ending).toEqual({
      kind: "answered",
      reply: {
        status: 429,
        retryAfter: "7",
        date: "Tue, 24 Nov 2026 10:00:00 GMT",
        body: Buffer.from("no body 0"),
        whole: true,
        cutShort: "broke off",
      },
    });
    expect(server.received[0]?.headers).toMatchObject({
      ":method": "POST",
      ":path": "/0",
      ":scheme": "https",
      ":authority": server.url.host,
      "content-length": "6",
      "x-a": "1",
    });
  });

  it("goes to the lane's own path where it names none", async () => {
    await using server = await startHttp2Server(ok);
    await using lane = laneTo(server.url);
    const source = sending(1, () => ({ path: "/base?q=1" }));
    lane.post(source);
    await source.done;
    expect(server.received[0]?.headers[":path"]).toBe("/base?q=1");
  });

  it("is cut off where the reply is too long, and the session goes on", async () => {
    await using server = await startHttp2Server((request) =>
      request.answer(200, {}, request.ordinal === 0 ? "x".repeat(5_000) : "y"),
    );
    await using lane = laneTo(server.url);
    for (const [length, whole] of [
      [0, false],
      [1, true],
    ] as const) {
      const source = sending(1, () => ({ keepReply: true }));
      lane.post(source);
      const [ending] = await source.done;
      expect(ending).toMatchObject({ kind: "answered", reply: { status: 200, whole } });
      if (length === 0) expect(ending).toMatchObject({ reply: { cutShort: "was longer than 1000 bytes" } });
    }
    expect(server.sessions).toHaveLength(1);
  });
});

describe("streams", () => {
  it("keep to the far side's limit as it rises from 1 to 100", async () => {
    await using server = await startHttp2Server(
      (request) => {
        if (request.ordinal === 9) {
          request.session.settings({ maxConcurrentStreams: 100 });
        }
        // Once the limit is 100, answers wait until so many are open: that proves that they may be.
        if (request.ordinal < 10) request.answer(200);
        else if (request.ordinal === 109) for (const each of server.received.slice(10)) each.answer(200);
        else if (request.ordinal > 109) request.answer(200);
      },
      { maxConcurrentStreams: 1 },
    );
    await using lane = laneTo(server.url, { streamsBeforeFirstReply: 1 });
    const source = sending(300);
    lane.post(source);
    expect(tally(await source.done)).toEqual({ answered: 300 });
    expect(server.streamsAtOnceMax).toBeLessThanOrEqual(100);
    expect(server.sessions).toHaveLength(1);
  });

  it("are one until the first reply where that is asked", async () => {
    const first = Promise.withResolvers<void>();
    await using server = await startHttp2Server((request) => {
      if (request.ordinal > 0) request.answer(200);
      else first.promise.then(() => request.answer(200));
    });
    await using lane = laneTo(server.url, { streamsBeforeFirstReply: 1 });
    await lane.warm(1, new AbortController().signal);
    const source = sending(50);
    lane.post(source);
    await server.whenReceived(1);
    expect(source.begun).toBe(1);
    first.resolve();
    expect(tally(await source.done)).toEqual({ answered: 50 });
  });

  it("keep to the own maximum, and spread over as many sessions as are allowed", async () => {
    await using server = await startHttp2Server((request) => {
      if (request.ordinal === 39) for (const each of server.received) each.answer(200);
      else if (request.ordinal > 39) request.answer(200);
    });
    await using lane = laneTo(server.url, { sessionsMax: 4, streamsMax: 10 });
    const source = sending(200);
    lane.post(source);
    expect(tally(await source.done)).toEqual({ answered: 200 });
    expect(server.sessions).toHaveLength(4);
    expect(server.streamsAtOnceMax).toBe(10);
  });

  it("of one session serve a trickle", async () => {
    await using server = await startHttp2Server(ok);
    await using lane = laneTo(server.url, { sessionsMax: 4 });
    for (let round = 0; round < 3; round += 1) {
      const source = sending(20);
      lane.post(source);
      await source.done;
    }
    expect(server.sessions).toHaveLength(1);
  });
});

describe("certainly not sent", () => {
  it("is what the far side refuses with REFUSED_STREAM", async () => {
    await using server = await startHttp2Server((request) => {
      if (request.ordinal % 3 === 0) request.stream.close(constants.NGHTTP2_REFUSED_STREAM);
      else request.answer(200);
    });
    await using lane = laneTo(server.url);
    const source = sending(30);
    lane.post(source);
    const endings = await source.done;
    expect(tally(endings)).toEqual({ unsent: 10, answered: 20 });
    expect(reasonOf(endings.find(({ kind }) => kind === "unsent"))).toBe("stream reset: REFUSED_STREAM");
  });

  it("is what nobody listens for, for all who wait", async () => {
    await using server = await startRawServer(() => {});
    const url = new URL(`https://127.0.0.1:${server.port}/`);
    await server[Symbol.asyncDispose]();
    await using lane = laneTo(url, { sessionsMax: 4 });
    const source = sending(30);
    lane.post(source);
    const endings = await source.done;
    expect(tally(endings)).toEqual({ unsent: 30 });
    expect(codeOf(endings[0])).toBe("ECONNREFUSED");
  });

  it("is what would go to a far side that nobody vouches for", async () => {
    await using server = await startHttp2Server(ok);
    const connector = guardedConnector({ allowLoopback: true }, 1_000, undefined, { http2: true });
    const lane = new Http2Lane(server.url, { sessionsMax: 2 }, connector);
    const source = sending(5);
    lane.post(source);
    const endings = await source.done;
    await lane.close();
    expect(tally(endings)).toEqual({ unsent: 5 });
    expect(codeOf(endings[0])).toBe("UNABLE_TO_VERIFY_LEAF_SIGNATURE");
    expect(server.received).toHaveLength(0);
  });

  it("is what would go to a far side that speaks no HTTP/2", async () => {
    const server = createTlsServer({ ...localCertificate, ALPNProtocols: ["http/1.1"] }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    await using lane = laneTo(new URL(`https://127.0.0.1:${port}/`));
    const source = sending(3);
    lane.post(source);
    const endings = await source.done;
    expect(tally(endings)).toEqual({ unsent: 3 });
    expect(reasonOf(endings[0])).toBe("the far side does not speak HTTP/2");
    server.close();
  });

  it("is what no connection comes about for, within one connect timeout", async () => {
    await using server = await startRawServer(() => {});
    await using lane = laneTo(new URL(`https://127.0.0.1:${server.port}/`), { sessionsMax: 2 });
    const source = sending(100);
    lane.post(source);
    expect(tally(await source.done)).toEqual({ unsent: 100 });
    expect(server.connections).toBe(1);
  });

  it("is what waits where sessions break one after another without an answer", async () => {
    await using server = await startHttp2Server(ok, {}, (session) => session.goaway(constants.NGHTTP2_NO_ERROR, 0));
    await using lane = laneTo(server.url);
    const source = sending(20);
    lane.post(source);
    expect(tally(await source.done)).toEqual({ unsent: 20 });
    expect(server.sessions.length).toBeLessThanOrEqual(20);
  });

  it("is what has not been asked for when it is aborted", async () => {
    await using server = await startHttp2Server(() => {});
    await using lane = laneTo(server.url, { streamsMax: 2 });
    const other = sending(1);
    const source = sending(5);
    lane.post(source);
    lane.post(other);
    await server.whenReceived(2);
    lane.abort(source, new Error("enough"));
    expect(tally(await source.done)).toEqual({ unsent: 3, broken_off: 2 });
    expect(reasonOf(source.endings[0])).toBe("enough");
    // The places of what was given up are free again.
    await server.whenReceived(3);
    server.received[2]?.answer(200);
    expect(tally(await other.done)).toEqual({ answered: 1 });
  });

  it("is what may not begin after all", async () => {
    await using server = await startHttp2Server(ok);
    await using lane = laneTo(server.url);
    const source = sending(10, (index) => ({ mayBegin: () => index % 2 === 0 }));
    lane.post(source);
    expect(tally(await source.done)).toEqual({ answered: 5, held_back: 5 });
    expect(server.received).toHaveLength(5);
  });
});

describe("perhaps sent", () => {
  it.each([
    ["reset by the far side", (request: ReceivedStream) => request.stream.close(constants.NGHTTP2_INTERNAL_ERROR)],
    ["closed by it without an answer", (request: ReceivedStream) => request.stream.close(constants.NGHTTP2_NO_ERROR)],
    ["cut off with its connection", (request: ReceivedStream) => request.session.socket.destroy()],
    ["lost with its session", (request: ReceivedStream) => request.session.destroy()],
  ])("is what is %s", async (_, fault) => {
    await using server = await startHttp2Server((request) => (request.ordinal === 0 ? fault(request) : ok(request)));
    await using lane = laneTo(server.url);
    const source = sending(1);
    lane.post(source);
    expect(tally(await source.done)).toEqual({ broken_off: 1 });
    const next = sending(3);
    lane.post(next);
    expect(tally(await next.done)).toEqual({ answered: 3 });
  });

  it("is what is not answered in time; its place is free again", async () => {
    await using server = await startHttp2Server((request) => {
      if (request.ordinal >= 2) request.answer(200);
    });
    await using lane = laneTo(server.url, { streamsMax: 2 });
    const source = sending(4, (index) => ({ timeoutMs: index < 2 ? 150 : 20_000 }));
    lane.post(source);
    const endings = await source.done;
    expect(endings.map(({ kind }) => kind)).toEqual(["broken_off", "broken_off", "answered", "answered"]);
    expect(reasonOf(endings[0])).toBe("timed out");
    expect(server.sessions).toHaveLength(1);
  });

  it("is an answer whose body does not end in time: its status counts", async () => {
    await using server = await startHttp2Server(({ stream }) => {
      stream.respond({ ":status": 503 });
      stream.write("half");
    });
    await using lane = laneTo(server.url);
    const source = sending(1, () => ({ timeoutMs: 200, keepReply: true }));
    lane.post(source);
    const [ending] = await source.done;
    expect(ending).toMatchObject({ kind: "answered", reply: { status: 503, whole: false, cutShort: "timed out" } });
  });
});

describe("a far side that goes away", () => {
  it.each([
    ["in peace", constants.NGHTTP2_NO_ERROR, { answered: 4, unsent: 6 }],
    ["in anger", constants.NGHTTP2_ENHANCE_YOUR_CALM, { broken_off: 4, unsent: 6 }],
    // Node hands the GOAWAY's code to every stream, as if each had been refused.
    ["with REFUSED_STREAM as its code", constants.NGHTTP2_REFUSED_STREAM, { broken_off: 4, unsent: 6 }],
  ])("%s: streams above its last one are unsent", async (_, code, expected) => {
    await using server = await startHttp2Server((request) => {
      const last = server.received[3]?.stream.id;
      if (request.session !== server.sessions[0]) request.answer(200);
      else if (request.ordinal === 9 && last !== undefined) {
        request.session.goaway(code, last);
        if (code === constants.NGHTTP2_NO_ERROR) for (const each of server.received.slice(0, 4)) each.answer(200);
      }
    });
    await using lane = laneTo(server.url);
    const source = sending(10);
    lane.post(source);
    await server.whenReceived(10);
    const endings = await source.done;
    expect(tally(endings)).toEqual(expected);
    expect(tally(endings.slice(4))).toEqual({ unsent: 6 });
    // A session that got GOAWAY is never used again.
    const next = sending(5);
    lane.post(next);
    expect(tally(await next.done)).toEqual({ answered: 5 });
    expect(server.sessions).toHaveLength(2);
  });

  it("announces it first and names the last stream later", async () => {
    await using server = await startHttp2Server((request) => {
      const { session } = request;
      if (session !== server.sessions[0]) request.answer(200);
      else if (request.ordinal === 4) {
        session.goaway(constants.NGHTTP2_NO_ERROR, 2 ** 31 - 1);
        session.goaway(constants.NGHTTP2_NO_ERROR, server.received[1]?.stream.id ?? 0);
        for (const each of server.received.slice(0, 2)) each.answer(200);
      }
    });
    await using lane = laneTo(server.url);
    const source = sending(5);
    lane.post(source);
    const endings = await source.done;
    expect(endings.map(({ kind }) => kind)).toEqual(["answered", "answered", "unsent", "unsent", "unsent"]);
  });

  it("is not waited for: those who wait go on over a new session at once, none twice", async () => {
    await using server = await startHttp2Server(
      (request) => {
        request.answer(200);
        if (request.ordinal % 100 === 99) request.session.goaway(constants.NGHTTP2_NO_ERROR, 2 ** 31 - 1);
      },
      { maxConcurrentStreams: 20 },
    );
    await using lane = laneTo(server.url, { sessionsMax: 3 });
    const source = sending(2_000);
    lane.post(source);
    const endings = await source.done;
    const { answered = 0, unsent = 0 } = tally(endings);
    expect(answered + unsent).toBe(2_000);
    const paths = server.received.map(({ headers }) => headers[":path"]);
    expect(new Set(paths).size).toBe(paths.length);
    // Whoever was called unsent has not been there.
    expect(paths.length).toBe(answered);
    expect(answered).toBeGreaterThan(1_900);
    expect(server.sessions.length).toBeGreaterThan(10);
  });
});

describe("a far side that falls silent", () => {
  /** A server behind a relay that passes everything on until it is muted: then nothing, but the connection stays. */
  async function mutable(onRequest: (request: ReceivedStream, mute: () => void) => void) {
    const pairs: [Socket, Socket][] = [];
    const mute = () => {
      for (const [near, far] of pairs) near.unpipe(far).pause() && far.unpipe(near).pause();
    };
    const server = await startHttp2Server((request) => onRequest(request, mute));
    const relay = await startRawServer((near) => {
      const far = connect(Number(server.url.port), "127.0.0.1");
      far.on("error", () => {});
      near.on("close", () => far.destroy());
      near.pipe(far).pipe(near);
      pairs.push([near, far]);
    });
    return {
      server,
      mute,
      url: new URL(`https://127.0.0.1:${relay.port}/`),
      async [Symbol.asyncDispose]() {
        await relay[Symbol.asyncDispose]();
        await server[Symbol.asyncDispose]();
      },
    };
  }

  it("is found by PING while requests wait", async () => {
    await using far = await mutable((request, mute) => {
      if (request.ordinal > 0) request.answer(200);
      else mute();
    });
    await using lane = laneTo(far.url, { silenceMs: 50, pingTimeoutMs: 100, streamsMax: 1 });
    const source = sending(2);
    lane.post(source);
    const endings = await source.done;
    expect(endings.map(({ kind }) => kind)).toEqual(["broken_off", "answered"]);
    expect(reasonOf(endings[0])).toBe("no answer to PING");
  });

  it("is told from one that is only slow", async () => {
    await using server = await startHttp2Server((request) => {
      request.session.once("ping", () => request.session.once("ping", () => request.answer(200)));
    });
    await using lane = laneTo(server.url, { silenceMs: 30, pingTimeoutMs: 5_000 });
    const source = sending(1);
    lane.post(source);
    expect(tally(await source.done)).toEqual({ answered: 1 });
    expect(server.sessions).toHaveLength(1);
  });

  it("while the session lay idle is found before a request is given to it", async () => {
    await using far = await mutable(ok);
    await using lane = laneTo(far.url, { staleMs: 20, pingTimeoutMs: 100 });
    const first = sending(1);
    lane.post(first);
    await first.done;
    far.mute();
    // Until the session counts as stale: there is no event for time that passes.
    await setTimeout(25);
    const second = sending(3);
    lane.post(second);
    expect(tally(await second.done)).toEqual({ answered: 3 });
    expect(far.server.sessions).toHaveLength(2);
    expect(far.server.received).toHaveLength(4);
  });
});

describe("sessions", () => {
  it("are opened ahead, and used", async () => {
    await using server = await startHttp2Server(ok);
    await using lane = laneTo(server.url, { sessionsMax: 8 });
    await lane.warm(3, new AbortController().signal);
    await lane.warm(3, new AbortController().signal);
    await server.whenSessions(3);
    const source = sending(30);
    lane.post(source);
    await source.done;
    expect(server.sessions).toHaveLength(3);
    expect(new Set(server.received.map(({ session }) => session)).size).toBe(3);
  });

  it("that can't be opened ahead are left out", async () => {
    await using server = await startRawServer((socket) => socket.destroy());
    await using lane = laneTo(new URL(`https://127.0.0.1:${server.port}/`), { sessionsMax: 8 });
    await lane.warm(3, new AbortController().signal);
    expect(server.connections).toBe(3);
  });

  it("are closed when they lie idle", async () => {
    await using server = await startHttp2Server(ok);
    await using lane = laneTo(server.url, { silenceMs: 20, idleMs: 40 });
    const source = sending(3);
    lane.post(source);
    await source.done;
    await server.whenOpen(0);
    const next = sending(3);
    lane.post(next);
    expect(tally(await next.done)).toEqual({ answered: 3 });
  });

  it("let what is under way end when the lane is closed, and then nothing more begins", async () => {
    await using server = await startHttp2Server(() => {});
    await using lane = laneTo(server.url, { streamsMax: 2 });
    const source = sending(5);
    lane.post(source);
    await server.whenReceived(2);
    const closing = lane.close();
    const late = sending(2);
    lane.post(late);
    expect(tally(await late.done)).toEqual({ unsent: 2 });
    for (const each of server.received) each.answer(200);
    expect(tally(await source.done)).toEqual({ answered: 2, unsent: 3 });
    await closing;
    await lane.close();
    await server.whenOpen(0);
  });

  it("are never dialled at an address that the guard refuses", async () => {
    const connector = guardedConnector({ allowLoopback: false }, 1_000, undefined, { http2: true, ca });
    await using server = await startHttp2Server(ok);
    const lane = new Http2Lane(server.url, { sessionsMax: 2 }, connector);
    const source = sending(3);
    lane.post(source);
    const endings = await source.done;
    expect(tally(endings)).toEqual({ unsent: 3 });
    expect(codeOf(endings[0])).toBe("hostile_url");
    await lane.close();
    expect(server.sessions).toHaveLength(0);
  });
});
