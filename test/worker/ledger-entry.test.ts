import { describe, expect, it } from "vitest";
import type { OutcomeCode } from "../../src/reminder/outcome-code.ts";
import { type Judged, ledgerEntry } from "../../src/worker/ledger-entry.ts";
import type { Verdict } from "../../src/worker/verdict.ts";

const verdict = (code: OutcomeCode, changed: Partial<Verdict> = {}): Verdict => ({
  code,
  reason: null,
  httpStatus: null,
  gone: false,
  next: null,
  ...changed,
});
const judged = (index: number, of: Verdict, changed: Partial<Judged> = {}): Judged => ({
  index,
  hashSlot: 100 + index,
  userNumber: `${index}`,
  ordinal: 1,
  verdict: of,
  afterDueMs: 12.6,
  takenOver: false,
  ...changed,
});
/** all of a chunk, at its first try, nobody standing by */
const first = { whole: true, repeated: false, standby: false };
const user = (index: number) => ({ hashSlot: 100 + index, userNumber: `${index}`, ordinal: 1 });

describe("ledgerEntry", () => {
  it("of a whole chunk that was accepted needs no indexes and no exceptions", () => {
    const entry = ledgerEntry([judged(0, verdict(1)), judged(1, verdict(1))], first);
    expect(entry).toEqual({
      indexes: null,
      codes: Uint8Array.of(1, 1),
      afterDueMs: [13, 13],
      tally: { delivered: 2, failed: 0, suppressed: 0, expired: 0, inDoubts: 0 },
      exceptions: null,
    });
  });

  it("of a part says whose outcomes they are", () => {
    expect(ledgerEntry([judged(7, verdict(1)), judged(2, verdict(1))], { ...first, whole: false }).indexes).toEqual([
      7, 2,
    ]);
  });

  it("counts final states once each, and doubts whether they are final or not", () => {
    const codes = [1, 10, 11, 12, 13, 20, 50, 51] as const;
    const entry = ledgerEntry(
      codes.map((code, index) => judged(index, verdict(code))),
      first,
    );
    expect(entry.tally).toEqual({ delivered: 1, failed: 4, suppressed: 0, expired: 1, inDoubts: 2 });
    expect([...entry.codes]).toEqual([...codes]);
  });

  it("keeps reasons, next tries and endpoints that are gone", () => {
    const entry = ledgerEntry(
      [
        judged(0, verdict(1)),
        judged(1, verdict(11, { reason: "no more", httpStatus: 410, gone: true, goneSinceMs: 1_000 })),
        judged(2, verdict(51, { reason: "no reply", next: { attempt: 1, waitMs: 300 } }), { takenOver: true }),
        judged(3, verdict(50, { reason: "busy", httpStatus: 429, next: { attempt: 2, waitMs: 900 } })),
      ],
      first,
    );
    const { hashSlot: _, ...inDoubt } = user(2);
    const { hashSlot: __, ...busy } = user(3);
    const { hashSlot: ___, ...noMore } = user(1);
    expect(entry.exceptions).toEqual({
      failures: [
        { ...noMore, code: 11, httpStatus: 410, reason: "no more" },
        { ...inDoubt, code: 51, httpStatus: null, reason: "no reply" },
        { ...busy, code: 50, httpStatus: 429, reason: "busy" },
      ],
      deferred: [
        { ...user(2), attempt: 1, waitMs: 300, inDoubt: true, takenOver: true, reason: "no reply" },
        { ...user(3), attempt: 2, waitMs: 900, inDoubt: false, takenOver: false, reason: "busy" },
      ],
      finished: [],
      gone: [{ ...noMore, reason: "no more", sinceMs: 1_000 }],
      ended: [],
    });
  });

  it("of a repeated try takes out of deferred what is final now, accepted or not, and nothing else", () => {
    const entry = ledgerEntry(
      [
        judged(0, verdict(1)),
        judged(1, verdict(10, { reason: "no" })),
        judged(2, verdict(50, { reason: "busy", next: { attempt: 3, waitMs: 1 } })),
      ],
      { whole: false, repeated: true, standby: false },
    );
    expect(entry.exceptions?.finished).toEqual([user(0), user(1)]);
    expect(entry.exceptions?.deferred).toMatchObject([user(2)]);
    // even where there is nothing else to say
    expect(ledgerEntry([judged(0, verdict(1))], { ...first, repeated: true }).exceptions?.finished).toEqual([user(0)]);
  });

  it("says where others stand by which users were reached, or perhaps, and which were not; not who is tried again", () => {
    const codes = [1, 10, 11, 12, 13, 20, 50, 51] as const;
    const members = codes.map((code, index) =>
      judged(index, verdict(code, code >= 50 ? { next: { attempt: 1, waitMs: 1 } } : {})),
    );
    expect(ledgerEntry(members, { ...first, standby: true }).exceptions?.ended).toEqual([
      { userNumber: "0", reached: true },
      { userNumber: "1", reached: false },
      { userNumber: "2", reached: false },
      { userNumber: "3", reached: false },
      { userNumber: "4", reached: true },
      { userNumber: "5", reached: false },
    ]);
    // even where there is nothing else to say
    const accepted = ledgerEntry([judged(0, verdict(1))], { ...first, standby: true });
    expect(accepted.exceptions?.ended).toEqual([{ userNumber: "0", reached: true }]);
    // one of several that ended together is enough
    const both = [judged(0, verdict(1)), judged(1, verdict(11), { userNumber: "0", ordinal: 2 })];
    for (const order of [both, both.toReversed()]) {
      const entry = ledgerEntry(order, { ...first, whole: false, standby: true });
      expect(entry.exceptions?.ended).toEqual([{ userNumber: "0", reached: true }]);
    }
  });

  it("keeps a lateness of weeks within what its column holds", () => {
    const late = [judged(0, verdict(1), { afterDueMs: 1e12 }), judged(1, verdict(1), { afterDueMs: -1e12 })];
    expect(ledgerEntry(late, first).afterDueMs).toEqual([2_147_483_647, -2_147_483_648]);
  });
});
