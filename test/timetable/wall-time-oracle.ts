/**
 * What civil-time.ts is judged by: brute force over the runtime's own formatting of instants (Intl), with no resolver
 * of any library. It asks of every offset in use around a wall time whether an instant with it shows that time.
 */
const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const formats = new Map<string, Intl.DateTimeFormat>();

/** The wall time that `zone` shows at an instant, as epoch milliseconds of the same reading in UTC. */
export function shownMs(instantMs: number, zone: string): number {
  let format = formats.get(zone);
  if (format === undefined) {
    const digits = { month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" } as const;
    format = new Intl.DateTimeFormat("en-US", { timeZone: zone, hourCycle: "h23", year: "numeric", ...digits });
    formats.set(zone, format);
  }
  const [month = 0, day = 0, year = 0, hour = 0, minute = 0, second = 0] = (
    format.format(instantMs).match(/\d+/g) ?? []
  ).map(Number);
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

export interface Verdict {
  /** every instant that shows the wall time, ascending */
  readonly instants: readonly number[];
  /** for a wall time that none shows: the instant that shows a time later by the length of the gap; else null */
  readonly shiftedMs: number | null;
}

/** @param wallMs the wall time, as epoch milliseconds of the same reading in UTC */
export function judge(wallMs: number, zone: string): Verdict {
  const offsets: number[] = [];
  for (let instantMs = wallMs - 27 * hourMs; instantMs <= wallMs + 27 * hourMs; instantMs += hourMs) {
    const offset = shownMs(instantMs, zone) - instantMs;
    if (offsets.at(-1) !== offset) offsets.push(offset);
  }
  const instants = instantsShowing(wallMs, zone, offsets);
  if (instants.length > 0) return { instants, shiftedMs: null };
  const [before, after, ...more] = offsets;
  if (before === undefined || after === undefined || more.length > 0)
    throw new Error(`no single gap: ${zone} ${wallMs}`);
  return { instants, shiftedMs: instantsShowing(wallMs + after - before, zone, offsets)[0] ?? null };
}

function instantsShowing(wallMs: number, zone: string, offsets: readonly number[]): number[] {
  return [...new Set(offsets)]
    .map((offset) => wallMs - offset)
    .filter((instantMs) => shownMs(instantMs, zone) === wallMs)
    .sort((a, b) => a - b);
}

export interface Transition {
  /** the first instant of the new offset */
  readonly atMs: number;
  readonly beforeMs: number;
  readonly afterMs: number;
}

/** The changes of a zone's offset between two instants, found by samples `stepDays` apart and then by halving. */
export function transitions(zone: string, fromMs: number, throughMs: number, stepDays: number): Transition[] {
  const offsetMs = (instantMs: number) => shownMs(instantMs, zone) - instantMs;
  const found: Transition[] = [];
  let beforeMs = offsetMs(fromMs);
  for (let leftMs = fromMs; leftMs < throughMs; leftMs += stepDays * dayMs) {
    const rightMs = leftMs + stepDays * dayMs;
    const afterMs = offsetMs(rightMs);
    if (afterMs !== beforeMs) {
      let low = leftMs;
      let high = rightMs;
      while (high - low > 1_000) {
        const middle = low + Math.floor((high - low) / 2_000) * 1_000;
        if (offsetMs(middle) === beforeMs) low = middle;
        else high = middle;
      }
      found.push({ atMs: high, beforeMs, afterMs: offsetMs(high) });
    }
    beforeMs = afterMs;
  }
  return found;
}
