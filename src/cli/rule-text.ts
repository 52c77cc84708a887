import { unreachable } from "../errors.ts";
import type { Rule } from "../reminder/rule.ts";

/** A rule as a person would say it: "daily 08:00 Europe/Berlin", "fajr -20 min at Berlin". */
export function ruleText(rule: Rule, place: { readonly name: string } | null): string {
  switch (rule.kind) {
    case "instant":
      return `at ${rule.at}`;
    case "wall": {
      const days = rule.days.length === 7 ? "daily" : rule.days.map((day) => dayNames[day - 1]).join(", ");
      return `${days} ${rule.time.replace(/:00$/, "")} ${rule.zone}`;
    }
    case "timetable": {
      const offset = rule.offsetMinutes === 0 ? "" : ` ${signed(rule.offsetMinutes)} min`;
      return `${rule.slot}${offset} at ${place?.name ?? `place ${rule.placeId}`}`;
    }
    default:
      return unreachable(rule);
  }
}

const dayNames = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

function signed(minutes: number): string {
  return minutes > 0 ? `+${minutes}` : String(minutes);
}
