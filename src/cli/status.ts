import type { Database } from "../store/database.ts";
import { readStatus, type Status, type StatusOptions } from "../store/inspection.ts";
import { type Output, printable, tableOf, timeOf } from "./table.ts";

/**
 * What an operator wants to know at 3 am, on one screen: first what needs a hand and what to do, then what is late and
 * why, what is under way, what comes next, and who is there.
 *
 * @returns whether all is well: nothing needs a hand
 * @throws what reading throws, see `toCarillonError`
 */
export async function showStatus(
  db: Pick<Database, "pool">,
  out: Output,
  { json, ...options }: StatusOptions & { readonly json: boolean },
): Promise<boolean> {
  const status = await readStatus(db, options);
  out.write(json ? `${JSON.stringify(status)}\n` : screenOf(status));
  return status.attention.length === 0;
}

/** The screen as text. */
export function screenOf(status: Status): string {
  const parts = [
    headOf(status),
    attentionOf(status),
    lateOf(status),
    underWayOf(status),
    upcomingOf(status),
    nodesOf(status),
  ];
  return `${parts.join("\n\n")}\n`;
}

function headOf({ clock, developmentClock }: Status): string {
  const head = `Carillon at ${timeOf(clock)}`;
  if (developmentClock === null) return head;
  const { realTime, speed } = developmentClock;
  return `${head}, by a development clock that goes ${paceOf(speed)}. Real time: ${timeOf(realTime)}`;
}

/** In words, how fast a development clock goes. */
export function paceOf(speed: number): string {
  return speed === 1 ? "as fast as real time" : `${speed} times as fast as real time`;
}

function attentionOf({ attention, clock, developmentClock }: Status): string {
  // since when is told on real time
  const now = developmentClock?.realTime ?? clock;
  if (attention.length === 0) return "Nothing needs a hand.";
  const items = attention.map(({ kind, subject, why, whatToDo, since }) => {
    const ago = since === null ? "" : `, for ${durationOf(now.getTime() - since.getTime())}`;
    return [
      `! ${kind}: ${printable(subject)}${ago}`,
      `    why:   ${printable(why)}`,
      `    to do: ${printable(whatToDo)}`,
    ].join("\n");
  });
  return ["NEEDS A HAND", ...items].join("\n");
}

function lateOf({ late }: Status): string {
  if (late.length === 0) return "Nothing is late that is not being sent.";
  return part(
    "LATE",
    ["bucket", "topic", "groups", "by", "state", "held by", "fault"],
    late.map((row) => [row.bucketId, row.topic, row.groups, durationOf(row.lateMs), row.state, row.heldBy, row.fault]),
  );
}

function underWayOf({ underWay, clock }: Status): string {
  if (underWay.length === 0) return "Nothing is under way.";
  return part(
    "UNDER WAY",
    ["bucket", "topic", "due", "state", "groups done", "delivered", "of about", "failed", "in doubt"],
    underWay.map((row) => [
      row.bucketId,
      row.topic,
      `${durationOf(clock.getTime() - row.dueAt.getTime())} ago`,
      row.state,
      `${row.groupsFinished}/${row.groups}`,
      row.delivered,
      row.population,
      row.failed,
      row.inDoubts,
    ]),
  );
}

function upcomingOf({ upcoming }: Status): string {
  if (upcoming.length === 0) return "No moment is ahead.";
  return part(
    "NEXT",
    ["due", "in", "topic", "place", "state", "people"],
    upcoming.map((row) => [row.dueAt, durationOf(row.dueInS * 1000), row.topic, row.place, row.state, row.population]),
  );
}

function nodesOf({ nodes }: Status): string {
  if (!nodes.some(({ role, state }) => role === "worker" && state === "live")) {
    const others = nodes.length === 0 ? "" : `\n${nodeTable(nodes)}`;
    return `NO WORKER IS LIVE: nothing is sent until one is started (carillon worker).${others}`;
  }
  return nodeTable(nodes);
}

function nodeTable(nodes: Status["nodes"]): string {
  return part(
    "NODES",
    ["node", "role", "state", "heartbeat", "armed", "firing", "clock off by"],
    nodes.map((row) => [
      `${row.node} (${row.nodeId})`,
      row.role,
      row.state,
      `${durationOf(row.heartbeatMsAgo)} ago`,
      row.groupsArmed,
      row.groupsFiring,
      row.clockSkewMs === null ? "" : `${row.clockSkewMs} ms`,
    ]),
  );
}

function part(title: string, columns: readonly string[], rows: readonly (readonly unknown[])[]): string {
  return `${title}\n${tableOf(columns, rows).trimEnd()}`;
}

/** A duration in its two largest units: 850 ms, 12 s, 3 min 5 s, 2 h 10 min, 3 d 4 h. */
export function durationOf(ms: number): string {
  const milliseconds = Math.max(0, Math.round(ms));
  if (milliseconds < 1000) return `${milliseconds} ms`;
  const seconds = Math.floor(milliseconds / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return two(minutes, "min", seconds % 60, "s");
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return two(hours, "h", minutes % 60, "min");
  return two(Math.floor(hours / 24), "d", hours % 24, "h");
}

function two(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}
