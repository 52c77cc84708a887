import { describe, expect, it } from "vitest";
import type { Outcome } from "../../src/channels/channel.ts";
import { attemptsMax, authWaitMs } from "../../src/reminder/retry-policy.ts";
import { type Circumstances, judge } from "../../src/worker/verdict.ts";

const nowMs = 1_900_000_000_000;
const soon = nowMs + 600_000;
/** before any next try */
const atOnce = nowMs + 1;

const outcomes = {
  accepted: { kind: "accepted" },
  rejected: { kind: "rejected", reason: "no", status: 400 },
  gone: { kind: "gone", reason: "no more", status: 410 },
  retry: { kind: "retry", reason: "busy", status: 429 },
  heldBack: { kind: "retry", reason: "held_back" },
  auth: { kind: "auth", reason: "who are you", status: 401 },
  inDoubt: { kind: "in_doubt", reason: "no reply" },
} as const satisfies Record<string, Outcome>;

const both = ["at_least_once", "at_most_once"] as const;
type Case = [
  outcome: keyof typeof outcomes,
  modes: readonly Circumstances["deliveryMode"][],
  attempt: number,
  expiresAtMs: number,
  code: number,
  nextAttempt: number | null,
];
const last = attemptsMax - 1;
const cases: Case[] = [
  ["accepted", both, 0, soon, 1, null],
  ["accepted", both, last, nowMs - 1, 1, null],
  ["rejected", both, 0, soon, 10, null],
  ["gone", both, 3, soon, 11, null],
  ["retry", both, 0, soon, 50, 1],
  ["retry", both, 4, soon, 50, 5],
  ["retry", both, last, soon, 12, null],
  ["retry", both, 0, atOnce, 20, null],
  // not begun: no attempt is burned, and the next one is an attempt of its own
  ["heldBack", both, 0, soon, 50, 1],
  ["heldBack", both, 5, soon, 50, 5],
  ["heldBack", both, last, soon, 50, last],
  ["heldBack", both, 0, nowMs, 20, null],
  ["auth", both, 0, soon, 50, 1],
  ["auth", both, 6, soon, 50, 6],
  ["auth", both, last, soon, 50, last],
  ["auth", both, 0, nowMs + authWaitMs, 20, null],
  ["inDoubt", ["at_least_once"], 0, soon, 51, 1],
  ["inDoubt", ["at_least_once"], 6, soon, 51, 7],
  ["inDoubt", ["at_least_once"], last, soon, 13, null],
  ["inDoubt", ["at_least_once"], 0, atOnce, 13, null],
  // never sent again where nothing may come twice
  ["inDoubt", ["at_most_once"], 0, soon, 13, null],
  ["inDoubt", ["at_most_once"], 3, soon, 13, null],
];

describe("judge", () => {
  it.each(cases.flatMap(([outcome, modes, ...rest]) => modes.map((mode) => [outcome, mode, ...rest] as const)))(
    "%s, %s, attempt %i, expiry at %i: code %i, next attempt %s",
    (name, deliveryMode, attempt, expiresAtMs, code, nextAttempt) => {
      const outcome: Outcome = outcomes[name];
      const verdict = judge(outcome, { deliveryMode, attempt, nowMs, expiresAtMs, random: 0.5 });
      expect(verdict.code).toBe(code);
      expect(verdict.next?.attempt ?? null).toBe(nextAttempt);
      expect(verdict.gone).toBe(name === "gone");
      expect(verdict.reason).toBe(outcome.kind === "accepted" ? null : outcome.reason);
      expect(verdict.httpStatus).toBe("status" in outcome ? outcome.status : null);
      if (verdict.next !== null) {
        expect(verdict.next.waitMs).toBeGreaterThanOrEqual(0);
        expect(nowMs + verdict.next.waitMs).toBeLessThan(expiresAtMs);
      }
    },
  );

  it("keeps since when an endpoint is gone, where that is said", () => {
    const circumstances = { deliveryMode: "at_least_once", attempt: 0, nowMs, expiresAtMs: soon, random: 0 } as const;
    expect(judge({ ...outcomes.gone, sinceMs: 7 }, circumstances).goneSinceMs).toBe(7);
    expect(judge(outcomes.gone, circumstances)).not.toHaveProperty("goneSinceMs");
  });

  it.each(["retry", "in_doubt"] as const)("a %s waits no less than was asked for", (kind) => {
    const circumstances = { deliveryMode: "at_least_once", attempt: 0, nowMs, expiresAtMs: soon } as const;
    for (const random of [0, 0.3, 0.999]) {
      const verdict = judge({ kind, reason: "slow down", retryAfterMs: 45_000 }, { ...circumstances, random });
      expect(verdict.next?.waitMs).toBeGreaterThanOrEqual(45_000);
    }
    // nor is it sent before then because it would expire
    expect(
      judge({ kind, reason: "slow down", retryAfterMs: 700_000 }, { ...circumstances, random: 0 }).next,
    ).toBeNull();
  });

  it("draws its waits, so that those who failed at one instant do not come back at one", () => {
    const wait = (random: number) =>
      judge(outcomes.retry, { deliveryMode: "at_least_once", attempt: 3, nowMs, expiresAtMs: soon, random }).next
        ?.waitMs;
    expect(wait(0)).toBe(0);
    expect(wait(0.5)).toBe(4000);
    expect(wait(0.999)).toBeLessThan(8000);
  });
});

describe("what is held back", () => {
  const heldBack = { kind: "held_back", reason: "not sent: the destination is silent", waitMs: 8_000 } as const;
  const judged = (circumstances: Partial<Circumstances> = {}) =>
    judge(heldBack, {
      deliveryMode: "at_most_once",
      attempt: 6,
      nowMs,
      expiresAtMs: soon,
      random: 0,
      ...circumstances,
    });

  it("burns no attempt, though it be the last, and comes back after its wait, each at a time of its own", () => {
    expect(judged()).toMatchObject({ code: 50, httpStatus: null, next: { attempt: 6, waitMs: 8_000 } });
    expect(judged({ attempt: last, random: 0.5 }).next).toEqual({ attempt: last, waitMs: 12_000 });
    // the next one is an attempt of its own
    expect(judged({ attempt: 0 }).next?.attempt).toBe(1);
  });

  it("is tried once more right before it expires, where it would wait for longer, and then expires", () => {
    expect(judged({ expiresAtMs: nowMs + 5_000 }).next?.waitMs).toBe(4_000);
    expect(judged({ expiresAtMs: nowMs + 500 }).next?.waitMs).toBe(500);
    expect(judged({ expiresAtMs: nowMs })).toMatchObject({ code: 20, next: null });
  });
});
