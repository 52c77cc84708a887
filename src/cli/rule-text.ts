import { unreachable } from "../errors.ts";
import type { Rule } from "../reminder/rule.ts";

/** A rule as a person would say it: "daily 08:00 Europe/Berlin", "fajr -20, +0 min at Berlin". */
export function ruleText(rule: Rule, place: { readonly name: string } | null): string {
  if (rule.kind === "instant") return `at ${rule.at}`;
  const { offsetsMinutes, startsOn, endsOn } = rule;
  const plain = offsetsMinutes.length === 1 && offsetsMinutes[0] === 0;
  return [
    momentText(rule, place),
    plain ? null : `${offsetsMinutes.map(signed).join(", ")} min`,
    startsOn === undefined ? null : `from ${startsOn}`,
    endsOn === undefined ? null : `through ${endsOn}`,
  ]
    .filter((part) => part !== null)
    .join(" ");
}

function momentText(rule: Exclude<Rule, { kind: "instant" }>, place: { readonly name: string } | null): string {
  switch (rule.kind) {
    case "wall": {
      const days = rule.days.length === 7 ? "daily" : rule.days.map((day) => dayNames[day - 1]).join(", ");
      return `${days} ${rule.time.replace(/:00$/, "")} ${rule.zone}`;
    }
    case "recurrence":
      return `${rule.rrule} of ${rule.start} ${rule.zone}`;
    case "timetable":
      return `${rule.slot} at ${place?.name ?? `place ${rule.placeId}`}`;
    default:
      return unreachable(rule);
  }
}

const dayNames = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

function signed(minutes: number): string {
  return minutes > 0 ? `+${minutes}` : String(minutes);
}
