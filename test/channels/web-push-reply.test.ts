import { describe, expect, it } from "vitest";
import type { Outcome } from "../../src/channels/channel.ts";
import type { Ending, Reply } from "../../src/channels/lane.ts";
import { pushOutcome } from "../../src/channels/web-push-reply.ts";
import { CarillonError } from "../../src/errors.ts";

const google = "fcm.googleapis.com";
const mozilla = "updates.push.services.mozilla.com";
const apple = "web.push.apple.com";
const microsoft = "wns2-par02p.notify.windows.com";
const nowMs = Date.UTC(2026, 10, 24, 18);

interface Expected {
  readonly kind: Outcome["kind"];
  readonly reason?: string;
  readonly status?: number;
  readonly retryAfterMs?: number;
}

function answered(status: number, body = "", headers: Partial<Reply> = {}): Ending {
  const reply = { retryAfter: undefined, date: undefined, whole: true, cutShort: "" };
  return { kind: "answered", reply: { ...reply, status, body: Buffer.from(body), ...headers } };
}

/** As autopush answers (mozilla-services.github.io/autopush-rs/errors.html). */
function mozillas(code: number, errno: number, message = ""): string {
  return JSON.stringify({ code, errno, error: "", message, more_info: "https://autopush.example" });
}

const otherKey: Expected = { kind: "rejected", reason: "the subscription belongs to another VAPID key" };

/** What push services answer, by RFC 8030 and by their own documents and users' reports. */
const table: readonly [host: string, ending: Ending, outcome: Expected][] = [
  [google, answered(201), { kind: "accepted" }],
  [mozilla, answered(201), { kind: "accepted" }],
  [mozilla, answered(202), { kind: "accepted" }],
  [microsoft, answered(200), { kind: "accepted" }],
  [google, answered(204), { kind: "accepted" }],

  [google, answered(404), { kind: "gone", reason: "answered 404" }],
  [google, answered(410, "push subscription has unsubscribed or expired.\n"), { kind: "gone" }],
  [mozilla, answered(404, mozillas(404, 102)), { kind: "gone", reason: "answered 404 errno 102" }],
  [mozilla, answered(410, mozillas(410, 106)), { kind: "gone", reason: "answered 410 errno 106" }],
  [apple, answered(410, '{"reason":"Unregistered"}'), { kind: "gone", reason: "answered 410 Unregistered" }],
  [microsoft, answered(410), { kind: "gone" }],

  [google, answered(429, "", { retryAfter: "30" }), { kind: "retry", retryAfterMs: 30_000 }],
  [mozilla, answered(429), { kind: "retry", reason: "answered 429" }],
  [apple, answered(429, '{"reason":"TooManyRequests"}'), { kind: "retry" }],
  [microsoft, answered(406, "", { retryAfter: "900" }), { kind: "retry", retryAfterMs: 900_000 }],
  [microsoft, answered(406), { kind: "rejected" }],

  [mozilla, answered(401, mozillas(401, 109, "VAPID public key mismatch")), otherKey],
  [
    google,
    answered(
      403,
      "the VAPID credentials in the authorization header do not correspond to the credentials used to create the subscriptions.\n",
    ),
    otherKey,
  ],
  [
    google,
    answered(
      403,
      "the key in the authorization header does not correspond to the sender ID used to subscribe this user. Please ensure\n",
    ),
    otherKey,
  ],
  [apple, answered(400, '{"reason":"VapidPkHashMismatch"}'), otherKey],
  [microsoft, answered(403), otherKey],

  [
    mozilla,
    answered(401, mozillas(401, 109, "Invalid Authorization Header")),
    { kind: "auth", reason: "answered 401 errno 109" },
  ],
  [google, answered(403, "invalid JWT provided\n"), { kind: "auth", reason: "answered 403" }],
  [apple, answered(403, '{"reason":"BadJwtToken"}'), { kind: "auth", reason: "answered 403 BadJwtToken" }],
  [microsoft, answered(401), { kind: "auth" }],
  ["notify.windows.com.example", answered(403), { kind: "auth" }],

  [google, answered(413), { kind: "rejected", status: 413 }],
  [mozilla, answered(413, mozillas(413, 104)), { kind: "rejected", reason: "answered 413 errno 104" }],
  [apple, answered(400, '{"reason":"BadWebPushTopic"}'), { kind: "rejected", reason: "answered 400 BadWebPushTopic" }],
  [google, answered(400), { kind: "rejected" }],
  [google, answered(405), { kind: "rejected" }],
  [google, answered(301, "", {}), { kind: "rejected", reason: "redirect refused" }],
  [google, answered(307), { kind: "rejected", reason: "redirect refused" }],

  [google, answered(500), { kind: "in_doubt" }],
  [mozilla, answered(503, mozillas(503, 201), { retryAfter: "12" }), { kind: "in_doubt", retryAfterMs: 12_000 }],
  [apple, answered(503), { kind: "in_doubt" }],
  [google, answered(408), { kind: "in_doubt" }],
  [google, answered(599), { kind: "in_doubt" }],

  [google, { kind: "held_back" }, { kind: "retry", reason: "held_back" }],
  [
    google,
    { kind: "unsent", error: Object.assign(new Error("connect 10.0.0.1"), { code: "ECONNREFUSED" }) },
    { kind: "retry", reason: "not sent: ECONNREFUSED" },
  ],
  [
    google,
    { kind: "unsent", error: new CarillonError("hostile_url", "no") },
    { kind: "rejected", reason: "refused by the egress guard: no" },
  ],
  [google, { kind: "broken_off", error: new Error("timed out") }, { kind: "in_doubt", reason: "no reply: timed out" }],
];

describe("pushOutcome", () => {
  it.each(table)("%s: %j", (host, ending, outcome) => {
    expect(pushOutcome(ending, host, nowMs)).toMatchObject(outcome);
  });

  it("reads a Retry-After that is a date by the push service's own clock", () => {
    const headers = { retryAfter: "Tue, 24 Nov 2026 12:01:00 GMT", date: "Tue, 24 Nov 2026 12:00:00 GMT" };
    expect(pushOutcome(answered(429, "", headers), google, nowMs)).toMatchObject({ retryAfterMs: 60_000 });
  });

  it("never hands on a push service's prose, which may name the endpoint", () => {
    const bodies = [
      "secret-token",
      '{"reason":"no such endpoint secret-token"}',
      '{"errno":"secret-token"}',
      "{secret-token",
    ];
    for (const body of bodies) {
      for (const status of [400, 403, 404, 429, 500]) {
        expect(JSON.stringify(pushOutcome(answered(status, body), apple, nowMs))).not.toContain("secret-token");
      }
    }
  });

  it("has an outcome for every status and body", () => {
    for (let status = 200; status <= 599; status += 1) {
      for (const body of ["", "{", "null", "[]", '"x"', '{"reason":null}', '{"errno":1e999}']) {
        expect(pushOutcome(answered(status, body), google, nowMs).kind).toMatch(/^\w+$/);
      }
    }
  });
});
