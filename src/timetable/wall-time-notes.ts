/** What clocks that are put forward or back do to a wall time, in words. */
import type { Occurrence, Rule } from "../reminder/rule.ts";
import { formatDate, formatTime, resolveWallTime, type WallTime, wallTimeAt } from "./civil-time.ts";
import { keyedWallTime } from "./occurrence-key.ts";

type ZonedRule = Extract<Rule, { readonly zone: string }>;

interface WallTimeNote {
  readonly code: "moved_out_of_gap" | "comes_twice" | "left_out_by_clocks" | "left_out_of_calendar" | "meets_another";
  readonly text: string;
}

const minuteMs = 60_000;

/** What is odd about an occurrence of a rule with a zone: nothing, but for the nights in which clocks change. */
export function notesOfWallTime(rule: ZonedRule, { key, dueAtMs }: Occurrence): WallTimeNote[] {
  const asked = keyedWallTime(key);
  const times = timesOnWall(asked, rule.zone);
  if (times === 0) {
    const came = wallTimeAt(dueAtMs - asked.offsetMinutes * minuteMs, rule.zone);
    const date = formatDate(came);
    const to = date === formatDate(asked) ? formatTime(came) : `${date} ${formatTime(came)}`;
    return [{ code: "moved_out_of_gap", text: `${said(asked, rule.zone)}: moved to ${to}` }];
  }
  if (times === 2) {
    const which = asked.fold === 0 ? "first" : "second";
    const taken = rule.overlap === "both" ? `this is the ${which}` : `the ${which} is taken`;
    const when = `${formatTime(asked)} comes twice on ${formatDate(asked)} in ${rule.zone}`;
    return [{ code: "comes_twice", text: `${when}: ${taken}` }];
  }
  return [];
}

/** Why a wall time that the rule names gives nothing of its own; null where clocks show it, and it meets another. */
export function whyNoWallTime(rule: ZonedRule, asked: WallTime): WallTimeNote | null {
  if (timesOnWall(asked, rule.zone) > 0) return null;
  const missing = said(asked, rule.zone);
  if (rule.gap === "shift") return { code: "meets_another", text: `${missing}: it would meet another of the rule's` };
  if (wholeDateIsLeftOut(asked, rule.zone)) {
    return { code: "left_out_of_calendar", text: `${formatDate(asked)} does not exist in ${rule.zone}: skipped` };
  }
  return { code: "left_out_by_clocks", text: `${missing}: skipped` };
}

function said(asked: WallTime, zone: string): string {
  return `${formatTime(asked)} does not exist on ${formatDate(asked)} in ${zone}`;
}

function timesOnWall(asked: WallTime, zone: string): number {
  return resolveWallTime(asked, zone, { gap: "skip", overlap: "both" }).length;
}

/** As in Apia on 2011-12-30. */
function wholeDateIsLeftOut(asked: WallTime, zone: string): boolean {
  return [0, 6, 12, 18, 23].every((hour) => timesOnWall({ ...asked, hour, minute: 59, second: 59 }, zone) === 0);
}
