import { outcomeStands, recordOutcomes, type UnresolvedMember, unresolvedMembers } from "../store/outcome.ts";
import type { WorkerContext } from "./context.ts";
import { type HeldGroup, LostGroup } from "./held-group.ts";
import { ledgerEntry } from "./ledger-entry.ts";
import { persist } from "./patience.ts";
import { judge } from "./verdict.ts";

/**
 * Puts on record what the group's last owner left in doubt, before anything else is sent: at-least-once topics have it
 * sent again later, under an intent of its own and with the same ids; at-most-once topics count it as failed. These
 * records stay, and with them the deliveries leave the window.
 */
export async function resolveInDoubt(worker: WorkerContext, held: HeldGroup): Promise<number> {
  const { group } = held;
  const { db, clock, faults } = worker;
  const onFault = (error: unknown) => faults.warn("rescue", { err: error }, "a rescued group can't be read just now");
  const members = await persist(held.lost, () => unresolvedMembers(db.pool, group, group.dueDay), onFault);
  for (const chunk of byChunk(members)) {
    const nowMs = clock.nowMs();
    const [realNowMs, realExpiresAtMs] = [clock.realNowMs(), clock.realTimeOf(group.expiresAtMs)];
    const judged = chunk.members.map((member) => ({
      index: member.index,
      hashSlot: member.hashSlot ?? 0,
      userNumber: member.userNumber,
      ordinal: member.ordinal,
      takenOver: true,
      afterDueMs: nowMs - group.dueAtMs,
      verdict: judge(
        { kind: "in_doubt", reason: "its worker was lost" },
        {
          // a person who was erased meanwhile can't be sent to again
          deliveryMode: member.hashSlot === null ? "at_most_once" : group.topic.deliveryMode,
          attempt: chunk.attempt,
          nowMs: realNowMs,
          expiresAtMs: realExpiresAtMs,
          random: worker.random(),
        },
      ),
    }));
    const record = {
      fence: group,
      dueDay: group.dueDay,
      chunkNumber: chunk.chunkNumber,
      // its own outcomes are recorded under an earlier epoch, so the number is free
      part: 0,
      leaseMs: worker.leaseMs,
      // whether anything stands by for them is seldom worth a question of its own
      ...ledgerEntry(judged, { whole: false, repeated: chunk.attempt > 0, standby: true }),
    };
    const stands = await persist(
      held.lost,
      async (repeated) => (repeated && (await outcomeStands(db.pool, record))) || recordOutcomes(db.pool, record),
      onFault,
    );
    if (!stands) {
      held.lose("its in-doubts were refused");
      throw new LostGroup("lost while its in-doubts were recorded");
    }
  }
  return members.length;
}

function byChunk(members: readonly UnresolvedMember[]) {
  const chunks = new Map<number, { chunkNumber: number; attempt: number; members: UnresolvedMember[] }>();
  for (const member of members) {
    const { chunkNumber, attempt } = member;
    const chunk = chunks.get(chunkNumber) ?? { chunkNumber, attempt, members: [] };
    chunk.members.push(member);
    chunks.set(chunkNumber, chunk);
  }
  return chunks.values();
}
