import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Outcome } from "../../src/channels/channel.ts";
import type { Chunk } from "../../src/store/chunk.ts";
import type { ClaimedGroup } from "../../src/store/claim.ts";
import { recordOutcomes, unresolvedMembers } from "../../src/store/outcome.ts";
import { closeBucket, settleGroup } from "../../src/store/settle.ts";
import { type Judged, ledgerEntry } from "../../src/worker/ledger-entry.ts";
import { judge } from "../../src/worker/verdict.ts";
import {
  createEngine,
  type Engine,
  intendDeferredSurely,
  intendSurely,
  type SeededMoment,
  testLeaseMs,
} from "../support/engine.ts";
import { findViolations } from "../support/invariants.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

type Mode = "at_least_once" | "at_most_once";

/** What happens to one endpoint, one after the other: what the far side says to each try, or its owner is lost with it. */
const happenings = ["accepted", "gone", "rejected", "retry", "in_doubt", "owner lost"] as const;
type Happening = (typeof happenings)[number];
/** One user's three endpoints. What is behind the last is accepted. */
type Story = readonly (readonly Happening[])[];

/** What the rules say, one endpoint after the other, as outcome codes. Nobody is tried so often that it is too often. */
function expectedOf(story: Story, mode: Mode): number[] {
  const codes: number[] = [];
  let over = false;
  for (const happens of story) {
    const doubts = (happening: Happening) => happening === "in_doubt" || happening === "owner lost";
    const last = happens.findIndex(
      (happening) => happening !== "retry" && (mode === "at_most_once" || !doubts(happening)),
    );
    const end = happens[last] ?? "accepted";
    if (over) codes.push(35);
    else if (end === "gone") codes.push(11);
    else if (end === "rejected") codes.push(10);
    else codes.push(doubts(end) ? 13 : 1);
    const tries = last === -1 ? happens : happens.slice(0, last);
    over ||= end === "accepted" || doubts(end) || tries.some(doubts);
  }
  return codes;
}

const outcomes: Readonly<Record<Exclude<Happening, "owner lost">, Outcome>> = {
  accepted: { kind: "accepted" },
  gone: { kind: "gone", reason: "gone" },
  rejected: { kind: "rejected", reason: "no" },
  retry: { kind: "retry", reason: "busy" },
  in_doubt: { kind: "in_doubt", reason: "no reply" },
};

/** Plays one moment: its worker's part in the way that it does it, and time goes by whenever there is nothing to do. */
class Play {
  readonly #moment: SeededMoment;
  readonly #mode: Mode;
  readonly #left: Map<string, Happening[]>;
  readonly #tries: number[] = [];
  #group: ClaimedGroup;

  constructor(moment: SeededMoment, group: ClaimedGroup, mode: Mode, stories: readonly Story[]) {
    this.#moment = moment;
    this.#group = group;
    this.#mode = mode;
    this.#left = new Map(
      moment.users.flatMap(({ userNumber }, index) =>
        (stories[index] ?? []).map((happens, at) => [`${userNumber}/${at + 1}`, [...happens]] as const),
      ),
    );
  }

  async run(): Promise<void> {
    let chunk = await intendSurely(engine.db.pool, this.#group);
    for (let chunkNumber = 1; ; chunkNumber += chunk.size > 0 ? 1 : 0) {
      if (chunk.size > 0) await this.#send(chunk);
      else if (await settleGroup(engine.db.pool, this.#group)) break;
      else await this.#wait();
      this.#tries.push(chunk.size);
      if (this.#tries.length > 200) throw new Error("it comes to no end");
      chunk = await intendDeferredSurely(engine.db.pool, this.#group, { chunkNumber });
    }
    expect(await closeBucket(engine.db.pool, this.#moment.bucketId)).toBe(true);
  }

  /** What is to be tried again comes again. What stands by does not, however late it is. */
  async #wait(): Promise<void> {
    const { length } = await engine.rows(
      `update carillon.deferred set next_try_at = clock_timestamp()
       where bucket_id = $1 and intent_chunk is null and standby is null returning 1`,
      [this.#moment.bucketId],
    );
    expect(length, "somebody whose turn it is, where others stand by").toBeGreaterThan(0);
  }

  async #send(chunk: Chunk): Promise<void> {
    const settled: Judged[] = [];
    let lost = false;
    for (const member of chunk.members) {
      const happening = this.#left.get(`${member.userNumber}/${member.ordinal}`)?.shift() ?? "accepted";
      if (happening === "owner lost") lost = true;
      else settled.push(this.#judged(member, outcomes[happening], chunk.attempt, false));
    }
    const whole = settled.length === chunk.members.length;
    // in two parts, as they may come in
    const parts = whole
      ? [settled]
      : [settled.filter((_, at) => at % 2 === 1), settled.filter((_, at) => at % 2 === 0)];
    for (const [part, judged] of parts.entries()) {
      if (judged.length > 0) await this.#record(chunk, part, judged, whole, chunk.standby);
    }
    if (lost) await this.#takeOver();
  }

  async #takeOver(): Promise<void> {
    await engine.endLease(this.#group);
    this.#group = await engine.claim(this.#moment);
    const members = await unresolvedMembers(engine.db.pool, this.#group, this.#group.dueDay);
    for (const [chunkNumber, ofChunk] of Map.groupBy(members, (member) => member.chunkNumber)) {
      const attempt = ofChunk[0]?.attempt ?? 0;
      const judged = ofChunk.map((member) =>
        this.#judged(member, { kind: "in_doubt", reason: "its worker was lost" }, attempt, true),
      );
      await this.#record({ chunkNumber, attempt }, 0, judged, false, true);
    }
  }

  #judged(
    { index, hashSlot, userNumber, ordinal }: Pick<Judged, "index" | "hashSlot" | "userNumber" | "ordinal">,
    outcome: Outcome,
    attempt: number,
    takenOver: boolean,
  ): Judged {
    const nowMs = Date.now();
    const verdict = judge(outcome, {
      deliveryMode: this.#mode,
      attempt,
      nowMs,
      expiresAtMs: nowMs + 3_600_000,
      random: 0.5,
    });
    return { index, hashSlot, userNumber, ordinal, verdict, afterDueMs: 1, takenOver };
  }

  async #record(
    { chunkNumber, attempt }: Pick<Chunk, "chunkNumber" | "attempt">,
    part: number,
    judged: readonly Judged[],
    whole: boolean,
    standby: boolean,
  ): Promise<void> {
    const record = {
      fence: this.#group,
      dueDay: this.#group.dueDay,
      chunkNumber,
      part,
      leaseMs: testLeaseMs,
      ...ledgerEntry(judged, { whole, repeated: attempt > 0, standby }),
    };
    expect(await recordOutcomes(engine.db.pool, record)).toBe(true);
  }
}

const story: fc.Arbitrary<Story> = fc.array(
  fc.array(
    fc.oneof(
      { weight: 3, arbitrary: fc.constant<Happening>("retry") },
      { weight: 3, arbitrary: fc.constantFrom<Happening>("gone", "rejected") },
      { weight: 1, arbitrary: fc.constantFrom<Happening>("accepted", "in_doubt", "owner lost") },
    ),
    { maxLength: 4 },
  ),
  { minLength: 3, maxLength: 3 },
);

describe.each(["at_least_once", "at_most_once"] as const)("whatever becomes of three endpoints, %s", (mode) => {
  it("the one whose turn it is is tried, and what each one ends in is what the rules say", async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(fc.array(story, { minLength: 12, maxLength: 12 }), async (stories) => {
        const moment = await engine.moment({ users: stories.length, endpoints: 3, mode });
        await engine.rows("update carillon.topics set reach = 'first' where topic_id = $1", [moment.topicId]);
        await new Play(moment, await engine.claim(moment), mode, stories).run();

        const ledger = await engine.rows<{ user_number: string; codes: number[] }>(
          `select user_number, array_agg(code order by ordinal) as codes
           from (
             select distinct on (user_number, ordinal) user_number, ordinal, code from carillon.chunk_members
             where bucket_id = $1 order by user_number, ordinal, chunk_number desc, outcome_epoch desc nulls last
           ) m
           group by user_number`,
          [moment.bucketId],
        );
        const codes = new Map(ledger.map((row) => [row.user_number, row.codes]));
        const expected = stories.map((each) => expectedOf(each, mode));
        expect(moment.users.map(({ userNumber }) => codes.get(userNumber))).toEqual(expected);
        for (const each of expected) seen.add(each.join(" "));
        const expectation = { bucketId: moment.bucketId, users: [] };
        expect(
          await findViolations({
            db: engine.db,
            receiverLog: null,
            expected: expectation,
            window: 500,
            mode,
            kills: 0,
            otherFaults: true,
          }),
        ).toEqual([]);
      }),
      { numRuns: 12 },
    );
    // it went all ways
    expect(seen.size).toBeGreaterThan(8);
  });
});
