import { unreachable } from "../errors.ts";
import type { ExplainedMoment, UserExplanation } from "../planner/explain.ts";
import type { ExplainedDelivery } from "../planner/why-not.ts";
import { formatLocal } from "../timetable/civil-time.ts";
import { missingText } from "./preview-text.ts";
import { ruleText } from "./rule-text.ts";
import { printable, tableOf, timeOf } from "./table.ts";

/** An explanation for people: a line a moment, said plainly. */
export function explanationText(explanation: UserExplanation): string {
  const { userId, zone, from, through, tzdata, moments, more, absences } = explanation;
  const where = zone === null ? "no zone of their own" : `clocks of ${zone}`;
  const columns = ["due (UTC)", "on the wall", "topic", "what", "comes?"];
  const parts = [
    `${printable(userId)}, ${timeOf(from)} to ${timeOf(through)} (${where}, zone data ${tzdata})`,
    moments.length === 0
      ? "No moment of theirs lies within."
      : tableOf(
          columns,
          moments.map((moment) => row(moment, zone)),
        ).trimEnd(),
    more === 0 ? "" : `... and ${more} more.`,
    absences.length === 0
      ? ""
      : [
          "Without a moment:",
          ...absences.map(
            (each) => `${missingText(each)} (${printable(each.topic)}: ${printable(ruleText(each.rule, each.place))})`,
          ),
        ].join("\n"),
  ];
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

function row(moment: ExplainedMoment, zone: string | null): readonly unknown[] {
  const { dueAt, local, topic, rule, place, notes } = moment;
  const what = [ruleText(rule, place), ...notes.map(({ text }) => text)].join("; ");
  return [dueAt, local, topic, what, answer(moment, zone)];
}

/** "yes, by webhook push to device-1 (endpoint 1); not by memory (endpoint 2): muted; fcm (endpoint 3) waits for webhook" */
function answer({ verdict, whyNot, deliveries }: ExplainedMoment, zone: string | null): string {
  switch (verdict) {
    case "not sent":
      return `no: ${whyNot?.text ?? ""}`;
    case "to be sent": {
      const reached = deliveries.filter(({ state }) => state === "to be sent").map(endpointText);
      const refused = deliveries.filter(({ state }) => state !== "to be sent");
      return [`yes, by ${reached.join(", by ")}`, ...refused.map(notBy)].join("; ");
    }
    case "held":
      return deliveries.map((each) => (each.heldUntil === null ? notBy(each) : heldText(each, zone))).join("; ");
    case "recorded":
      return deliveries.map(recordedText).join("; ");
    default:
      return unreachable(verdict);
  }
}

function notBy(delivery: ExplainedDelivery): string {
  if (delivery.state === "stands by") return `${endpointText(delivery)} ${delivery.reason}`;
  return `not by ${endpointText(delivery)}: ${delivery.reason}`;
}

/** "held until 2027-03-28T07:00:00+02:00 by quiet hours, then by webhook push to device-1 (endpoint 1)" */
function heldText(delivery: ExplainedDelivery, zone: string | null): string {
  const { heldUntil, reason } = delivery;
  const until = heldUntil === null ? "" : formatLocal(heldUntil.getTime(), zone ?? "UTC");
  return `held until ${until} by ${reason}, then by ${endpointText(delivery)}`;
}

/** "delivered by memory to device-1 (endpoint 1), 12 ms after" */
function recordedText(delivery: ExplainedDelivery): string {
  const { state, reason, latenessMs, ordinal } = delivery;
  const by = ordinal === null ? state : `${state} by ${endpointText(delivery)}`;
  if (latenessMs !== null) return `${by}, ${latenessMs} ms after`;
  return reason === null || reason === state ? by : `${by}: ${reason}`;
}

function endpointText({ ordinal, channel, destination, address }: ExplainedDelivery): string {
  const by = [channel, destination].filter((part) => part !== null).join(" ");
  return `${by}${address === null ? "" : ` to ${address}`} (endpoint ${ordinal})`;
}
