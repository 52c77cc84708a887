import type { Destination, Moment } from "../channels/channel.ts";
import { deliveryIds } from "../reminder/delivery-id.ts";
import type { Chunk, Member } from "../store/chunk.ts";
import type { WorkerContext } from "./context.ts";
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
    message: {
      title: group.topic.title,
      body: group.topic.body,
      data: group.topic.data,
      image: null,
      sound: null,
      link: null,
    },
    priority: "high",
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
  chunk: Chunk,
  record: ChunkRecord,
): Promise<void> {
  const idOf = deliveryIds(held.group.scheduleId, held.group.occurrence);
  const signal = AbortSignal.any([held.lost, worker.abandon]);
  await Promise.all(parcelsOf(chunk.members).map((members) => sendParcel(members)));
  await record.finished;

  async function sendParcel(members: readonly Member[]): Promise<void> {
    const [first] = members;
    if (first === undefined) return;
    const channel = worker.channels.get(first.channel);
    if (channel === undefined) {
      const missing = { kind: "auth", reason: `this node has no channel ${first.channel}` } as const;
      return record.settle(
        members,
        members.map(() => missing),
      );
    }
    let destination: Destination | null = null;
    if (first.destinationId !== null) {
      try {
        destination = await worker.destinations.find(first.destinationId);
      } catch (error) {
        worker.faults.error("destination", { err: error }, "a destination can't be read");
      }
      if (destination === null) {
        const closed = { kind: "auth", reason: "the destination is disabled or can't be read" } as const;
        return record.settle(
          members,
          members.map(() => closed),
        );
      }
    }
    await channel.send({
      moment,
      destination,
      timeoutMs: worker.sendTimeoutMs,
      signal,
      deliveries: members.map((member) => ({
        deliveryId: idOf(member.userNumber, member.ordinal),
        attempt: chunk.attempt,
        address: member.address,
        destinationId: member.destinationId,
        zone: member.zone,
        locale: member.locale,
        message: moment.message,
      })),
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
