import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Outcome } from "../../src/channels/channel.ts";
import { authWaitMs } from "../../src/reminder/retry-policy.ts";
import { Circuit } from "../../src/worker/circuit.ts";

const silence: Outcome = { kind: "in_doubt", reason: "no reply: timed out" };
const noConnection: Outcome = { kind: "retry", reason: "not sent: ECONNREFUSED" };
const heldBack: Outcome = { kind: "retry", reason: "held_back" };
const refused: Outcome = { kind: "auth", reason: "answered 401", status: 401 };
const accepted: Outcome = { kind: "accepted" };

function at(startMs = 1_000_000) {
  let nowMs = startMs;
  const circuit = new Circuit(25, () => nowMs);
  return {
    circuit,
    pass: (ms: number) => {
      nowMs += ms;
    },
    /** admits so many, and all of them become this */
    send: (count: number, outcome: Outcome) => {
      const admitted = circuit.admit(count);
      circuit.settled(new Array<Outcome>(admitted).fill(outcome));
      return admitted;
    },
  };
}

describe("Circuit", () => {
  it("lets everything through while there are answers, whatever they say", () => {
    const { send } = at();
    const answers: Outcome[] = [
      accepted,
      { kind: "rejected", reason: "no", status: 400 },
      { kind: "gone", reason: "no more", status: 410 },
      { kind: "in_doubt", reason: "answered 500", status: 500 },
      { kind: "retry", reason: "answered 429", status: 429 },
      // GOAWAY leaves out a thousand requests at one time, and the next connection is as good
      { kind: "retry", reason: "not sent: far side is going away: NO_ERROR", heard: true },
      heldBack,
    ];
    for (const answer of answers) expect(send(500, answer)).toBe(500);
    expect(send(500, accepted)).toBe(500);
  });

  it("opens at five refusals of a credential in a row, for half a minute; then a few go, and an accepted one closes it", () => {
    const { circuit, send, pass } = at();
    // single ones are about the endpoints
    for (let others = 0; others < 100; others += 1) {
      expect(send(4, refused)).toBe(4);
      expect(send(1, accepted)).toBe(1);
    }
    expect(send(5, refused)).toBe(5);
    expect(circuit.state).toEqual({ opening: "refused", reason: "answered 401" });
    expect(send(500, accepted)).toBe(0);
    expect(circuit.waitMs).toBe(authWaitMs);
    pass(authWaitMs - 1);
    expect(send(500, accepted)).toBe(0);
    pass(1);
    expect(send(500, refused)).toBe(5);
    expect(send(500, accepted)).toBe(0);
    pass(authWaitMs);
    expect(send(500, accepted)).toBe(5);
    expect(circuit.state).toBeNull();
    expect(send(500, accepted)).toBe(500);
  });

  it.each([silence, noConnection])(
    "opens after twenty in a row without an answer, for twice as long each time: %j",
    (nothing) => {
      const { circuit, send, pass } = at();
      expect(send(19, nothing)).toBe(19);
      expect(send(1, accepted)).toBe(1);
      expect(send(19, nothing)).toBe(19);
      expect(circuit.state).toBeNull();
      send(1, nothing);
      expect(circuit.state?.opening).toBe("silent");
      const waits: number[] = [];
      for (let times = 0; times < 7; times += 1) {
        waits.push(circuit.waitMs);
        expect(send(100, accepted)).toBe(0);
        pass(circuit.waitMs);
        expect(send(100, nothing)).toBe(5);
      }
      expect(waits).toEqual([2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
      pass(60_000);
      send(1, accepted);
      expect(circuit.state).toBeNull();
    },
  );

  it("obeys a far side that wants nothing for a while, and the longest such wait", () => {
    const { circuit, send, pass } = at();
    const wait = (retryAfterMs: number): Outcome => ({
      kind: "retry",
      reason: "answered 429",
      status: 429,
      retryAfterMs,
      forAll: true,
    });
    circuit.admit(3);
    circuit.settled([wait(7000), wait(3000), accepted]);
    expect(circuit.state?.opening).toBe("asked to wait");
    pass(6999);
    expect(circuit.isOpen).toBe(true);
    expect(send(10, accepted)).toBe(0);
    pass(1);
    expect(circuit.isOpen).toBe(false);
    expect(send(10, accepted)).toBe(5);
    expect(send(10, accepted)).toBe(10);
  });

  it("takes five in a row that ask for a wait for a word about all", () => {
    const { circuit, send } = at();
    const busy: Outcome = { kind: "retry", reason: "QUOTA_EXCEEDED", status: 429, retryAfterMs: 60_000 };
    send(4, busy);
    send(1, accepted);
    send(4, busy);
    expect(circuit.state).toBeNull();
    send(1, busy);
    expect(circuit.state?.opening).toBe("asked to wait");
    expect(circuit.waitMs).toBe(60_000);
  });

  it("gives one that has stopped answering no more than its share, until it answers", () => {
    const { circuit, pass } = at();
    expect(circuit.admit(20)).toBe(20);
    expect(circuit.admit(20)).toBe(20);
    pass(1001);
    expect(circuit.admit(20)).toBe(0);
    circuit.settled(new Array<Outcome>(16).fill({ kind: "in_doubt", reason: "answered 500", status: 500 }));
    expect(circuit.admit(20)).toBe(20);
  });

  it("is not closed by late answers to what was sent before it opened", () => {
    const { circuit } = at();
    circuit.admit(10);
    circuit.settled(new Array<Outcome>(5).fill(refused));
    circuit.settled([accepted, accepted]);
    expect(circuit.isOpen).toBe(true);
    expect(circuit.admit(1)).toBe(0);
  });

  it("tells when it changes, and counts what is under way right, whatever happens", () => {
    const outcomes = fc.constantFrom<Outcome>(silence, noConnection, heldBack, refused, accepted);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(40), outcomes, fc.nat(70_000))), (steps) => {
        const { circuit, pass } = at();
        for (const [count, outcome, ms] of steps) {
          const before = circuit.state?.opening;
          const admitted = circuit.admit(count);
          expect(admitted).toBeLessThanOrEqual(count);
          if (circuit.isOpen) expect(admitted).toBe(0);
          const told = circuit.settled(new Array<Outcome>(admitted).fill(outcome));
          expect(told).toBe(circuit.state?.opening !== before);
          pass(ms);
        }
        // nothing is left under way: it comes back by itself
        pass(60_000);
        expect(circuit.admit(1)).toBe(1);
      }),
    );
  });
});
