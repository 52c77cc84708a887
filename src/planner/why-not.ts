/** Whether a moment is sent to a user, and if not, why not: what is recorded, or the first thing that stands in its way. */
import { shownAddress } from "../reminder/address.ts";
import { isOutcomeCode, outcomeCodes, outcomeMeanings } from "../reminder/outcome-code.ts";
import type { DeliveryRecord } from "../store/delivery-history.ts";
import type { EndpointThere, GateAnswer, Outlook, SubscriptionThere } from "../store/foresight.ts";
import type { ForeseenMoment } from "./foreseen.ts";

export type WhyNotCode =
  | "joined_later"
  | "left_before"
  | "never_planned"
  | "no_longer_comes"
  | "missed"
  | "cancelled"
  | "not_recorded"
  | "topic_paused"
  | "schedule_paused"
  | "expired"
  /** what the gate says, in the words of the ledger: ended, muted, opted out, no endpoint, quiet hours, ... */
  | "refused";

export interface WhyNot {
  readonly code: WhyNotCode;
  /** a sentence for people */
  readonly text: string;
}

/** One endpoint at one moment. */
export interface ExplainedDelivery {
  /** 1-20; null: the user has no endpoint */
  readonly ordinal: number | null;
  readonly channel: string | null;
  /** the destination's name */
  readonly destination: string | null;
  /** a device's is shortened */
  readonly address: string | null;
  /** `to be sent`, `held` (by quiet hours), `stands by` (for an endpoint that comes first), `not sent`, or as the ledger has it: delivered, failed, expired, suppressed, cancelled, ... */
  readonly state: string;
  readonly reason: string | null;
  /** the end of the quiet hours that hold it; null: nothing holds it */
  readonly heldUntil: Date | null;
  readonly acceptedAt: Date | null;
  readonly latenessMs: number | null;
}

export interface Verdict {
  /**
   * `recorded`: the ledger has it; `to be sent`: by at least one endpoint; `held`: by quiet hours, and to be sent at their
   * end, if nothing stands in its way then; `not sent`: see `whyNot`
   */
  readonly verdict: "recorded" | "to be sent" | "held" | "not sent";
  readonly whyNot: WhyNot | null;
  readonly deliveries: readonly ExplainedDelivery[];
}

export interface Case {
  readonly moment: ForeseenMoment;
  readonly subscription: SubscriptionThere;
  readonly outlook: Outlook;
  readonly answers: readonly GateAnswer[];
  readonly recorded: readonly DeliveryRecord[];
  /** all that the user has or had, by ordinal */
  readonly endpoints: ReadonlyMap<number, EndpointThere>;
  /** epoch milliseconds */
  readonly nowMs: number;
}

/** The verdict, in the order in which the engine asks: what is on record, whose moment it is, the moment, the gate. */
export function verdictOf(of: Case): Verdict {
  if (of.recorded.length > 0) {
    return { verdict: "recorded", whyNot: null, deliveries: of.recorded.map((record) => recordedDelivery(record, of)) };
  }
  const stopped = notTheirs(of) ?? stoppedMoment(of);
  if (stopped !== null) return { verdict: "not sent", whyNot: stopped, deliveries: [] };
  const deliveries = of.answers.map(answeredDelivery);
  if (of.answers.some(({ code }) => code === 0)) return { verdict: "to be sent", whyNot: null, deliveries };
  if (deliveries.some(({ heldUntil }) => heldUntil !== null)) return { verdict: "held", whyNot: null, deliveries };
  const [first] = of.answers;
  const reason = reasonOf(first?.code ?? 0) ?? "unknown";
  return { verdict: "not sent", whyNot: { code: "refused", text: reason }, deliveries };
}

function notTheirs({ answers, subscription, moment }: Case): WhyNot | null {
  if (answers.some(({ hasPart }) => hasPart)) return null;
  const { subscribedAt, endedAt } = subscription;
  if (endedAt !== null && endedAt.getTime() <= moment.dueAtMs) {
    return { code: "left_before", text: `unsubscribed at ${endedAt.toISOString()}` };
  }
  return { code: "joined_later", text: `subscribed from ${subscribedAt.toISOString()} on` };
}

function stoppedMoment({ moment, outlook, nowMs }: Case): WhyNot | null {
  const { bucket, change } = moment;
  if (change === "dropped") {
    return { code: "no_longer_comes", text: "what gives it its time was corrected, and no longer has this moment" };
  }
  if (change === "skipped" || bucket?.state === "skipped") {
    return {
      code: "missed",
      text: `missed while nobody planned, and the topic catches up with "${outlook.schedule.catchUp}"`,
    };
  }
  if (bucket?.cancelled) return { code: "cancelled", text: `time bucket ${bucket.bucketId} is cancelled` };
  if (bucket?.state === "done") {
    return { code: "not_recorded", text: `time bucket ${bucket.bucketId} is closed and has nothing of this user` };
  }
  if (bucket === null && change === "stands") {
    return { code: "never_planned", text: "it had passed before the schedule, or what gives it this time, was there" };
  }
  const { topicPausedAt, schedulePausedAt } = outlook;
  const expiry = new Date(moment.expiresAtMs).toISOString();
  const over = moment.expiresAtMs <= nowMs;
  const unless = over ? `and it expired at ${expiry}` : `unless it is resumed before ${expiry}`;
  if (topicPausedAt !== null) {
    return { code: "topic_paused", text: `the topic is paused since ${topicPausedAt.toISOString()}, ${unless}` };
  }
  if (schedulePausedAt !== null) {
    return {
      code: "schedule_paused",
      text: `the schedule is paused since ${schedulePausedAt.toISOString()}, ${unless}`,
    };
  }
  return over ? { code: "expired", text: `it expired at ${expiry}` } : null;
}

function recordedDelivery(record: DeliveryRecord, { endpoints }: Case): ExplainedDelivery {
  const { channel, state, reason, acceptedAt, latenessMs } = record;
  // the ledger writes 0 for none
  const ordinal = record.ordinal === 0 ? null : record.ordinal;
  const there = endpoints.get(record.ordinal);
  const destination = there?.destination ?? null;
  const address = shown(channel, there?.address ?? null);
  return { ordinal, channel, destination, address, state, reason, heldUntil: null, acceptedAt, latenessMs };
}

function answeredDelivery(answer: GateAnswer): ExplainedDelivery {
  const { ordinal, channel, destination, code, quietUntil, waitsFor } = answer;
  const address = shown(channel, answer.address);
  const held = code === outcomeCodes.heldByQuietHours;
  const state = code === 0 ? "to be sent" : held ? "held" : waitsFor !== null ? "stands by" : "not sent";
  const reason = waitsFor === null ? reasonOf(code) : `waits for ${waitsFor}`;
  const heldUntil = held ? quietUntil : null;
  const nothingYet = { acceptedAt: null, latenessMs: null };
  return { ordinal, channel, destination, address, state, reason, heldUntil, ...nothingYet };
}

function shown(channel: string | null, address: string | null): string | null {
  return channel === null || address === null ? null : shownAddress(channel, address);
}

/** In the words of the ledger. */
function reasonOf(code: number): string | null {
  return isOutcomeCode(code) ? outcomeMeanings[code].reason : null;
}
