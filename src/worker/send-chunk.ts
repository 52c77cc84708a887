import type { Delivery, Destination, Moment, Outcome } from "../channels/channel.ts";
import { deliveryIds } from "../reminder/delivery-id.ts";
import type { Written } from "../reminder/message.ts";
import type { Chunk, Member } from "../store/chunk.ts";
import type { WorkerContext } from "./context.ts";
import type { GroupMessages } from "./group-messages.ts";
import type { HeldGroup } from "./held-group.ts";
import type { ChunkRecord } from "./record-chunk.ts";

/** What all reminders of one group have in common. */
export function momentOf(held: HeldGroup, nodeName: string): Moment {
  const { group } = held;
  return {
    topic: group.topic.name,
    scheduleId: group.scheduleId,
    occurrence: group.occurrence,
    dueAt: new Date(group.dueAtMs).toISOString(),
    expiresAt: new Date(group.expiresAtMs).toISOString(),
    bucketId: group.bucketId,
    groupNumber: group.groupNumber,
    node: nodeName,
    priority: group.topic.priority,
  };
}

/**
 * Sends a chunk whose intent stands: its members, by channel and destination, all at once. Every member gets an outcome.
 * Resolves when all outcomes are recorded. Never rejects.
 */
export async function sendChunk(
  worker: WorkerContext,
  held: HeldGroup,
  moment: Moment,
  messages: GroupMessages,
  chunk: Chunk,
  record: ChunkRecord,
): Promise<void> {
  const idOf = deliveryIds(held.group.scheduleId, held.group.occurrence);
  const signal = AbortSignal.any([held.lost, worker.abandon]);
  await writeAndSend();
  await record.finished;

  async function writeAndSend(): Promise<void> {
    let write: (member: Member) => Written;
    try {
      write = await messages.forMembers(chunk.members);
    } catch (error) {
      worker.faults.warn("message", { err: error }, "what a message mentions can't be read just now");
      return settleAll(chunk.members, { kind: "retry", reason: "what the message mentions can't be read" });
    }
    await Promise.all(parcelsOf(chunk.members).map((members) => writeParcel(members, write)));
  }

  /** Who can't be written to is rejected; the others are sent to. */
  async function writeParcel(members: readonly Member[], write: (member: Member) => Written): Promise<void> {
    const readers: Member[] = [];
    const deliveries: Delivery[] = [];
    for (const member of members) {
      const written = write(member);
      if (written.kind === "message") {
        readers.push(member);
        deliveries.push({
          deliveryId: idOf(member.userNumber, member.ordinal),
          attempt: chunk.attempt,
          address: member.address,
          destinationId: member.destinationId,
          zone: member.zone,
          locale: member.locale,
          message: written.message,
        });
      } else {
        const { reason } = written;
        worker.faults.error("message", { topic: moment.topic, reason }, "a message can't be rendered");
        settleAll([member], { kind: "rejected", reason });
      }
    }
    await sendParcel(readers, deliveries);
  }

  function settleAll(members: readonly Member[], outcome: Outcome): void {
    record.settle(
      members,
      members.map(() => outcome),
    );
  }

  async function sendParcel(members: readonly Member[], deliveries: readonly Delivery[]): Promise<void> {
    const [first] = members;
    if (first === undefined) return;
    const channel = worker.channels.get(first.channel);
    if (channel === undefined) {
      return settleAll(members, { kind: "auth", reason: `this node has no channel ${first.channel}` });
    }
    let destination: Destination | null = null;
    if (first.destinationId !== null) {
      try {
        destination = await worker.destinations.find(first.destinationId);
      } catch (error) {
        worker.faults.error("destination", { err: error }, "a destination can't be read");
      }
      if (destination === null) {
        return settleAll(members, { kind: "auth", reason: "the destination is disabled or can't be read" });
      }
    }
    await channel.send({
      moment,
      destination,
      timeoutMs: worker.sendTimeoutMs,
      signal,
      deliveries,
      mayBegin: () =>
        !worker.draining.aborted &&
        held.outlives(worker.sendTimeoutMs) &&
        worker.clock.nowMs() < held.group.expiresAtMs,
      settle: (indexes, outcomes) =>
        record.settle(
          indexes.flatMap((index) => members[index] ?? []),
          outcomes,
        ),
    });
  }
}

/** Members that one channel can send together; their order is kept. */
function parcelsOf(members: readonly Member[]): readonly (readonly Member[])[] {
  const parcels = new Map<string, Member[]>();
  let last: Member[] | undefined;
  let lastMember: Member | undefined;
  for (const member of members) {
    if (
      last === undefined ||
      lastMember?.channel !== member.channel ||
      lastMember.destinationId !== member.destinationId
    ) {
      const key = `${member.channel}:${member.destinationId}`;
      last = parcels.get(key) ?? [];
      parcels.set(key, last);
    }
    last.push(member);
    lastMember = member;
  }
  return [...parcels.values()];
}
