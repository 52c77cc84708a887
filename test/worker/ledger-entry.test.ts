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
const user = (index: number) => ({ hashSlot: 100 + index, userNumber: `${index}`, ordinal: 1 });

describe("ledgerEntry", () => {
  it("of a whole chunk that was accepted needs no indexes and no exceptions", () => {
    const entry = ledgerEntry([judged(0, verdict(1)), judged(1, verdict(1))], true, false);
    expect(entry).toEqual({
      indexes: null,
      codes: Uint8Array.of(1, 1),
      afterDueMs: [13, 13],
      tally: { delivered: 2, failed: 0, suppressed: 0, expired: 0, inDoubts: 0 },
      exceptions: null,
    });
  });

  it("of a part says whose outcomes they are", () => {
    expect(ledgerEntry([judged(7, verdict(1)), judged(2, verdict(1))], false, false).indexes).toEqual([7, 2]);
  });

  it("counts final states once each, and doubts whether they are final or not", () => {
    const codes = [1, 10, 11, 12, 13, 20, 50, 51] as const;
    const entry = ledgerEntry(
      codes.map((code, index) => judged(index, verdict(code))),
      true,
      false,
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
      true,
      false,
    );
    const { hashSlot: _, ...second } = user(2);
    const { hashSlot: __, ...third } = user(3);
    const { hashSlot: ___, ...first } = user(1);
    expect(entry.exceptions).toEqual({
      failures: [
        { ...first, code: 11, httpStatus: 410, reason: "no more" },
        { ...second, code: 51, httpStatus: null, reason: "no reply" },
        { ...third, code: 50, httpStatus: 429, reason: "busy" },
      ],
      deferred: [
        { ...user(2), attempt: 1, waitMs: 300, inDoubt: true, takenOver: true, reason: "no reply" },
        { ...user(3), attempt: 2, waitMs: 900, inDoubt: false, takenOver: false, reason: "busy" },
      ],
      finished: [],
      gone: [{ ...first, reason: "no more", sinceMs: 1_000 }],
    });
  });

  it("of a repeated try takes out of deferred what is final now, accepted or not, and nothing else", () => {
    const entry = ledgerEntry(
      [
        judged(0, verdict(1)),
        judged(1, verdict(10, { reason: "no" })),
        judged(2, verdict(50, { reason: "busy", next: { attempt: 3, waitMs: 1 } })),
      ],
      false,
      true,
    );
    expect(entry.exceptions?.finished).toEqual([user(0), user(1)]);
    expect(entry.exceptions?.deferred).toMatchObject([user(2)]);
    // even where there is nothing else to say
    expect(ledgerEntry([judged(0, verdict(1))], true, true).exceptions?.finished).toEqual([user(0)]);
  });

  it("keeps a lateness of weeks within what its column holds", () => {
    const late = [judged(0, verdict(1), { afterDueMs: 1e12 }), judged(1, verdict(1), { afterDueMs: -1e12 })];
    expect(ledgerEntry(late, true, false).afterDueMs).toEqual([2_147_483_647, -2_147_483_648]);
  });
});
