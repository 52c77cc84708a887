/**
 * A schedule's rule: when its moments are. The canonical form (defaults filled in, keys and days in order, instants
 * in UTC and kept to the second) has its one definition in SQL, `carillon.canonical_rule`, so that HTTP, COPY and SQL
 * callers agree on which schedules are the same.
 */
export type Rule = InstantRule | WallRule | TimetableRule;

/** One instant: RFC 3339, whole seconds, UTC ("2026-11-24T18:00:00Z"). */
export interface InstantRule {
  readonly kind: "instant";
  readonly at: string;
}

/** What to do with a wall time that does not exist on a day (clocks go forward). */
export type GapPolicy = "shift" | "skip";
/** Which of the two instants to take for a wall time that comes twice (clocks go back). */
export type OverlapPolicy = "first" | "last" | "both";

/** A time of day in a zone, each day or on chosen weekdays. */
export interface WallRule {
  readonly kind: "wall";
  /** "HH:MM" or "HH:MM:SS" */
  readonly time: string;
  /** IANA zone */
  readonly zone: string;
  /** ISO weekdays 1 (Monday) to 7 (Sunday), ascending, without repeats */
  readonly days: readonly number[];
  readonly gap: GapPolicy;
  readonly overlap: OverlapPolicy;
}

/** A timetable slot at a place, moved by whole minutes (negative: before). */
export interface TimetableRule {
  readonly kind: "timetable";
  readonly placeId: number;
  readonly slot: string;
  readonly offsetMinutes: number;
}

/** One instant that a rule yields. */
export interface Occurrence {
  /**
   * The rule's own key of this occurrence, which stays the same when a corrected timetable or new zone data moves
   * `dueAt`: the instant; the local date-time with its fold; or place, slot, date and offset.
   */
  readonly key: string;
  /** epoch milliseconds, UTC */
  readonly dueAtMs: number;
}
