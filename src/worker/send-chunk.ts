import type { Channel, Delivery, Destination, Moment, Outcome } from "../channels/channel.ts";
import { deliveryIds } from "../reminder/delivery-id.ts";
import type { Written } from "../reminder/message.ts";
import type { Chunk, Member } from "../store/chunk.ts";
import type { WorkerContext } from "./context.ts";
import type { GroupMessages } from "./group-messages.ts";
import type { HeldGroup } from "./held-group.ts";
import type { Outlet } from "./outlets.ts";
import { paceWaitMs } from "./pace.ts";
import type { ChunkRecord } from "./record-chunk.ts";
import type { HeldBack } from "./verdict.ts";

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
    await Promise.all(parcelsOf(chunk.members, worker.channels).map((parcel) => sendParcel(parcel, write)));
  }

  async function sendParcel(
    { channelName, destinationId, route, members }: MemberParcel,
    write: (member: Member) => Written,
  ): Promise<void> {
    const channel = worker.channels.get(channelName);
    if (channel === undefined) {
      return settleAll(members, { kind: "auth", reason: `this node has no channel ${channelName}` });
    }
    const letters = written(members, write);
    if (letters.length === 0) return;
    if (destinationId === null) return send(channel, null, null, letters);
    const destination = await find(destinationId);
    if (destination === null) {
      return settleLetters(letters, { kind: "auth", reason: "the destination is disabled or can't be read" });
    }
    const outlet = worker.outlets.of(destinationId, route);
    const admitted = outlet.circuit.admit(letters.length);
    if (admitted < letters.length) settleLetters(letters.slice(admitted), outlet.heldBack(outlet.circuit.waitMs));
    if (admitted > 0) await sendAtPace(channel, destination, outlet, letters.slice(0, admitted));
  }

  /** Who can't be written to is rejected; the others are sent to. */
  function written(members: readonly Member[], write: (member: Member) => Written): readonly Letter[] {
    return members.flatMap((member) => {
      const text = write(member);
      if (text.kind === "message") return [{ member, delivery: deliveryTo(member, text.message) }];
      const { reason } = text;
      worker.faults.error("message", { topic: moment.topic, reason }, "a message can't be rendered");
      settleAll([member], { kind: "rejected", reason });
      return [];
    });
  }

  function deliveryTo(member: Member, message: Delivery["message"]): Delivery {
    return {
      deliveryId: idOf(member.userNumber, member.ordinal),
      attempt: chunk.attempt,
      address: member.address,
      destinationId: member.destinationId,
      zone: member.zone,
      locale: member.locale,
      message,
    };
  }

  async function sendAtPace(
    channel: Channel,
    destination: Destination,
    outlet: Outlet,
    letters: readonly Letter[],
  ): Promise<void> {
    const waitMs = await outlet.pace.take(letters.length, signal).catch((error: unknown) => {
      if (!signal.aborted) worker.faults.warn("pace", { err: error }, "a destination's pace can't be read just now");
      return paceWaitMs;
    });
    if (waitMs === 0) return send(channel, destination, outlet, letters);
    outlet.circuit.withdraw(letters.length);
    settleLetters(letters, outlet.heldBack(waitMs));
  }

  function send(
    channel: Channel,
    destination: Destination | null,
    outlet: Outlet | null,
    letters: readonly Letter[],
  ): Promise<void> {
    return channel.send({
      moment,
      destination,
      timeoutMs: worker.sendTimeoutMs,
      signal,
      deliveries: letters.map(({ delivery }) => delivery),
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
          indexes.flatMap((index) => letters[index]?.member ?? []),
          outcomes,
        );
      },
    });
  }

  function settleLetters(letters: readonly Letter[], outcome: Outcome | HeldBack): void {
    settleAll(
      letters.map(({ member }) => member),
      outcome,
    );
  }

  function settleAll(members: readonly Member[], outcome: Outcome | HeldBack): void {
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

/** What one member is to be sent. */
interface Letter {
  readonly member: Member;
  readonly delivery: Delivery;
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
