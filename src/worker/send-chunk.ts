import type { Channel, Destination, Moment, Outcome } from "../channels/channel.ts";
import { deliveryIds } from "../reminder/delivery-id.ts";
import type { Chunk, Member } from "../store/chunk.ts";
import type { WorkerContext } from "./context.ts";
import type { HeldGroup } from "./held-group.ts";
import type { Outlet } from "./outlets.ts";
import { paceWaitMs } from "./pace.ts";
import type { ChunkRecord } from "./record-chunk.ts";
import type { Held } from "./verdict.ts";

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
    message: { title: group.topic.title, body: group.topic.body, data: group.topic.data },
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
  await Promise.all(parcelsOf(chunk.members, worker.channels).map((parcel) => sendParcel(parcel)));
  await record.finished;

  async function sendParcel({ channelName, destinationId, route, members }: MemberParcel): Promise<void> {
    const channel = worker.channels.get(channelName);
    if (channel === undefined) {
      return settleAll(members, { kind: "auth", reason: `this node has no channel ${channelName}` });
    }
    if (destinationId === null) return send(channel, null, null, members);
    const destination = await find(destinationId);
    if (destination === null) {
      return settleAll(members, { kind: "auth", reason: "the destination is disabled or can't be read" });
    }
    const outlet = worker.outlets.of(destinationId, route);
    const admitted = outlet.circuit.admit(members.length);
    if (admitted < members.length) settleAll(members.slice(admitted), outlet.held(outlet.circuit.waitMs));
    if (admitted > 0) await sendAtPace(channel, destination, outlet, members.slice(0, admitted));
  }

  async function sendAtPace(
    channel: Channel,
    destination: Destination,
    outlet: Outlet,
    members: readonly Member[],
  ): Promise<void> {
    const waitMs = await outlet.pace.take(members.length, signal).catch((error: unknown) => {
      if (!signal.aborted) worker.faults.warn("pace", { err: error }, "a destination's pace can't be read just now");
      return paceWaitMs;
    });
    if (waitMs === 0) return send(channel, destination, outlet, members);
    outlet.circuit.withdraw(members.length);
    settleAll(members, outlet.held(waitMs));
  }

  function send(
    channel: Channel,
    destination: Destination | null,
    outlet: Outlet | null,
    members: readonly Member[],
  ): Promise<void> {
    return channel.send({
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
      })),
      mayBegin: () =>
        !worker.draining.aborted &&
        held.outlives(worker.sendTimeoutMs) &&
        worker.clock.nowMs() < held.group.expiresAtMs &&
        outlet?.circuit.isOpen !== true,
      settle: (indexes, outcomes) => {
        // what we gave up on says nothing about the far side
        if (signal.aborted) outlet?.circuit.withdraw(outcomes.length);
        else outlet?.settled(outcomes);
        record.settle(
          indexes.flatMap((index) => members[index] ?? []),
          outcomes,
        );
      },
    });
  }

  function settleAll(members: readonly Member[], outcome: Outcome | Held): void {
    record.settle(
      members,
      members.map(() => outcome),
    );
  }

  async function find(destinationId: number): Promise<Destination | null> {
    try {
      return await worker.destinations.find(destinationId);
    } catch (error) {
      worker.faults.error("destination", { err: error }, "a destination can't be read");
      return null;
    }
  }
}

/** Members that one channel can send together. */
interface MemberParcel {
  readonly channelName: string;
  readonly destinationId: number | null;
  readonly route: string;
  readonly members: Member[];
}

/** The members by channel, destination and route; their order is kept. */
function parcelsOf(members: readonly Member[], channels: ReadonlyMap<string, Channel>): readonly MemberParcel[] {
  const parcels = new Map<string, MemberParcel>();
  let last: MemberParcel | undefined;
  for (const member of members) {
    const { channel: channelName, destinationId } = member;
    const route = channels.get(channelName)?.routeOf?.(member.address) ?? "";
    if (last?.channelName !== channelName || last.destinationId !== destinationId || last.route !== route) {
      const key = `${channelName}:${destinationId}:${route}`;
      last = parcels.get(key) ?? { channelName, destinationId, route, members: [] };
      parcels.set(key, last);
    }
    last.members.push(member);
  }
  return [...parcels.values()];
}
