import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { occurrencesBetween } from "../../src/timetable/occurrences.ts";
import { parseRule } from "../../src/timetable/rule-check.ts";

const dayMs = 86_400_000;
const page = readFileSync(new URL("../../docs/time.md", import.meta.url), "utf8");

/** The rows of the table of nights: zone, date, time of day, rule, when it comes, what clocks show. */
const rows = page
  .split("\n")
  .map((line) => line.split("|").map((cell) => cell.trim().replaceAll("`", "")))
  .filter((cells) => cells.length === 8 && /^\d{4}-/.test(cells[2] ?? ""))
  .map(([, zone = "", date = "", time = "", says = "", comes = "", shows = ""]) => ({
    zone,
    date,
    time,
    says,
    comes,
    shows,
  }));

function ruleOf({ zone, time, says }: (typeof rows)[number]) {
  const [policy = "", ...rest] = says.split(", ");
  const offsets = rest.join(",").match(/-?\d+/g)?.map(Number);
  return parseRule({
    kind: "wall",
    zone,
    time,
    [policy === "shift" || policy === "skip" ? "gap" : "overlap"]: policy,
    ...(rest.includes("Fridays") ? { days: [5] } : {}),
    ...(offsets === undefined ? {} : { offsetsMinutes: offsets }),
  });
}

/** "23:30 the day before, 01:30" -> instants; where a day is said, it goes for what stands before it as well. */
function instantsOf(date: string, comes: string): number[] {
  if (comes === "not") return [];
  const parts = comes.split(", ");
  const shared = parts.length > 1 && / the day /.test(parts.at(-1) ?? "") ? (parts.at(-1) ?? "").slice(5) : "";
  return parts.map((part) => {
    const text = part.length === 5 ? `${part}${shared}` : part;
    const days = text.endsWith("before") ? -1 : text.endsWith("after") ? 1 : 0;
    return Date.parse(`${date}T${text.slice(0, 5)}Z`) + days * dayMs;
  });
}

describe("the nights of docs/time.md", () => {
  it("are read", () => {
    expect(rows.length).toBeGreaterThan(15);
  });

  it.each(rows)("$zone $date $time $says: $comes", (row) => {
    const midnightMs = Date.parse(`${row.date}T00:00Z`);
    const found = occurrencesBetween(ruleOf(row), null, midnightMs - 2 * dayMs, midnightMs + 3 * dayMs);
    const ofDate = found.filter(({ key }) => key.startsWith(row.date));
    expect(ofDate.map(({ dueAtMs }) => dueAtMs)).toEqual(instantsOf(row.date, row.comes));
    const clock = new Intl.DateTimeFormat("en-GB", { timeZone: row.zone, timeStyle: "short" });
    const shown = new Set(ofDate.map(({ dueAtMs }) => clock.format(dueAtMs)));
    if (ofDate.length > 0) expect([...shown].join(", ")).toBe(/^[\d:]+(, [\d:]+)*/.exec(row.shows)?.[0]);
  });
});
