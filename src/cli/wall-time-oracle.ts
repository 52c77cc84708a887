import type { GapPolicy } from "../reminder/rule.ts";

const minuteMs = 60_000;
/** No zone is farther from UTC, and no change of clocks is longer. */
const searchMs = 16 * 60 * minuteMs;

/**
 * When clocks in a zone show a wall time, found the slow way: by asking Intl what they show, minute by minute. It shares
 * nothing with the resolver that plans, which is why the demo's scenarios hold the receiver's log against it.
 *
 * @param wallTime such as "2027-03-28T02:30"
 * @param gap for a time that the clocks leave out: as long after the last minute before it as if they had not changed, or
 *   not at all
 * @returns epoch milliseconds, of two instants the first; null where there is none
 */
export function instantOf(wallTime: string, zone: string, gap: GapPolicy): number | null {
  const shownAt = wallClock(zone);
  const aroundMs = Date.parse(`${wallTime}Z`);
  let lastBeforeMs = aroundMs - searchMs;
  for (let atMs = aroundMs - searchMs; atMs <= aroundMs + searchMs; atMs += minuteMs) {
    const shown = shownAt(atMs);
    if (shown === wallTime) return atMs;
    if (shown > wallTime) break;
    lastBeforeMs = atMs;
  }
  if (gap === "skip") return null;
  return lastBeforeMs + aroundMs - Date.parse(`${shownAt(lastBeforeMs)}Z`);
}

function wallClock(zone: string): (atMs: number) => string {
  const format = new Intl.DateTimeFormat("en-GB", {
    timeZone: zone,
    hourCycle: "h23",
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
  });
  return (atMs) => {
    const parts = new Map(format.formatToParts(atMs).map(({ type, value }) => [type, value]));
    const part = (type: Intl.DateTimeFormatPartTypes) => parts.get(type) ?? "";
    return `${part("year")}-${part("month")}-${part("day")}T${part("hour")}:${part("minute")}`;
  };
}
