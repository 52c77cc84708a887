import { fc, test } from "@fast-check/vitest";
import { describe, expect, it } from "vitest";
import { apnsOutcome, apnsReasons, saysTokenExpired } from "../../src/channels/apns-reply.ts";
import type { Outcome } from "../../src/channels/channel.ts";
import type { Ending } from "../../src/channels/lane.ts";
import { CarillonError } from "../../src/errors.ts";

function answered(status: number, body: unknown = {}, headers: { retryAfter?: string; date?: string } = {}): Ending {
  return {
    kind: "answered",
    reply: {
      status,
      retryAfter: headers.retryAfter,
      date: headers.date,
      body: Buffer.from(typeof body === "string" ? body : JSON.stringify(body)),
      whole: true,
      cutShort: "",
    },
  };
}

const outcomeOf = (status: number, reason: string) => apnsOutcome(answered(status, { reason }), 0);

/** "Handling notification responses from APNs": every status and reason of Apple's table. */
const documented: readonly (readonly [number, string, Outcome["kind"]])[] = [
  [400, "BadCollapseId", "rejected"],
  [400, "BadDeviceToken", "gone"],
  [400, "BadExpirationDate", "rejected"],
  [400, "BadMessageId", "rejected"],
  [400, "BadPriority", "rejected"],
  [400, "BadTopic", "auth"],
  [400, "DeviceTokenNotForTopic", "gone"],
  [400, "DuplicateHeaders", "rejected"],
  [400, "IdleTimeout", "retry"],
  [400, "InvalidPushType", "rejected"],
  [400, "MissingDeviceToken", "rejected"],
  [400, "MissingTopic", "auth"],
  [400, "PayloadEmpty", "rejected"],
  [400, "TopicDisallowed", "auth"],
  [403, "BadCertificate", "auth"],
  [403, "BadCertificateEnvironment", "auth"],
  [403, "ExpiredProviderToken", "auth"],
  [403, "Forbidden", "auth"],
  [403, "InvalidProviderToken", "auth"],
  [403, "MissingProviderToken", "auth"],
  [403, "UnrelatedKeyIdInToken", "auth"],
  [403, "BadEnvironmentKeyIdInToken", "auth"],
  [404, "BadPath", "rejected"],
  [405, "MethodNotAllowed", "rejected"],
  [410, "ExpiredToken", "gone"],
  [410, "Unregistered", "gone"],
  [413, "PayloadTooLarge", "rejected"],
  [429, "TooManyProviderTokenUpdates", "retry"],
  [429, "TooManyRequests", "retry"],
  [500, "InternalServerError", "in_doubt"],
  [503, "ServiceUnavailable", "in_doubt"],
  [503, "Shutdown", "in_doubt"],
];

describe("apnsOutcome", () => {
  it.each(documented)("makes of %i %s: %s", (status, reason, kind) => {
    expect(outcomeOf(status, reason)).toMatchObject({ kind, reason, status });
  });

  it("knows no reason that isn't documented, but for the one that servers spell otherwise", () => {
    const known = new Set(documented.map(([, reason]) => reason));
    expect(Object.keys(apnsReasons).filter((reason) => !known.has(reason))).toEqual(["BadEnvironmentKeyInToken"]);
    expect(outcomeOf(403, "BadEnvironmentKeyInToken").kind).toBe("auth");
  });

  it.each([
    [200, "accepted"],
    [301, "rejected"],
    [400, "rejected"],
    [401, "auth"],
    [403, "auth"],
    [404, "rejected"],
    [408, "in_doubt"],
    [410, "gone"],
    [413, "rejected"],
    [418, "rejected"],
    [429, "retry"],
    [500, "in_doubt"],
    [502, "in_doubt"],
    [599, "in_doubt"],
  ] as const)("goes by the status where the reason is new, missing or no JSON: %i is %s", (status, kind) => {
    for (const body of [{ reason: "HasNeverBeenSeen" }, { reason: 7 }, {}, "", "<html>", "null", "[]", '"x"']) {
      expect(apnsOutcome(answered(status, body), 0).kind).toBe(kind);
    }
  });

  it("says since when a token is dead, as far as that is a time", () => {
    const of = (timestamp: unknown) => apnsOutcome(answered(410, { reason: "Unregistered", timestamp }), 0);
    expect(of(1_795_514_416_000)).toEqual({
      kind: "gone",
      reason: "Unregistered",
      status: 410,
      sinceMs: 1_795_514_416_000,
    });
    for (const none of [undefined, null, "soon", 0, -1, 1e300]) expect(of(none)).not.toHaveProperty("sinceMs");
  });

  it("obeys Retry-After, and waits a minute where a team changed its token too often", () => {
    const busy = (reason: string, headers = {}) => apnsOutcome(answered(429, { reason }, headers), 0);
    expect(busy("TooManyRequests", { retryAfter: "7" })).toMatchObject({ kind: "retry", retryAfterMs: 7_000 });
    expect(busy("TooManyRequests")).not.toHaveProperty("retryAfterMs");
    expect(busy("TooManyProviderTokenUpdates")).toMatchObject({ kind: "retry", retryAfterMs: 60_000 });
    expect(busy("TooManyProviderTokenUpdates", { retryAfter: "90" })).toMatchObject({ retryAfterMs: 90_000 });
    const failed = apnsOutcome(answered(503, { reason: "Shutdown" }, { retryAfter: "3" }), 0);
    expect(failed).toMatchObject({ kind: "in_doubt", retryAfterMs: 3_000 });
  });

  it("tells what was certainly not sent from what may have been", () => {
    const error = new Error("connect refused");
    expect(apnsOutcome({ kind: "held_back" }, 0)).toEqual({ kind: "retry", reason: "held_back" });
    expect(apnsOutcome({ kind: "unsent", error }, 0)).toEqual({
      kind: "retry",
      reason: "not sent: connect refused",
    });
    expect(apnsOutcome({ kind: "broken_off", error }, 0).kind).toBe("in_doubt");
    const hostile = new CarillonError("hostile_url", "The URL's host is not at a public address");
    expect(apnsOutcome({ kind: "unsent", error: hostile }, 0).kind).toBe("rejected");
  });

  it("lets no control characters and no long words through", () => {
    const outcome = outcomeOf(400, `\u001b[2J${"x".repeat(500)}`);
    expect(outcome).toMatchObject({ kind: "rejected", reason: expect.stringMatching(/^\?\[2Jx{20,60}$/) });
  });

  test.prop([fc.integer({ min: 200, max: 599 }), fc.oneof(fc.string(), fc.json()), fc.string()])(
    "never throws, whatever comes",
    (status, body, retryAfter) => {
      const ending = answered(status, body, { retryAfter });
      expect(apnsOutcome(ending, 0).kind === "accepted").toBe(status < 300);
      saysTokenExpired(ending);
    },
  );
});

describe("saysTokenExpired", () => {
  it("is of that one answer only", () => {
    expect(saysTokenExpired(answered(403, { reason: "ExpiredProviderToken" }))).toBe(true);
    expect(saysTokenExpired(answered(403, { reason: "InvalidProviderToken" }))).toBe(false);
    expect(saysTokenExpired(answered(500, { reason: "ExpiredProviderToken" }))).toBe(false);
    expect(saysTokenExpired({ kind: "broken_off", error: new Error("x") })).toBe(false);
  });
});
