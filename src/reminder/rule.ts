/**
 * A schedule's rule: when its moments are. The canonical form (defaults filled in, keys and days in order, instants
 * in UTC and kept to the second) has its one definition in SQL, `carillon.canonical_rule`, so that HTTP, COPY and SQL
 * callers agree on which schedules are the same.
 */
export type Rule = InstantRule | WallRule | RecurrenceRule | TimetableRule;

/** One instant: RFC 3339, whole seconds, UTC ("2026-11-24T18:00:00Z"). */
export interface InstantRule {
  readonly kind: "instant";
  readonly at: string;
}

/** What to do with a wall time that does not exist on a day (clocks go forward). */
export type GapPolicy = "shift" | "skip";
/** Which of the two instants to take for a wall time that comes twice (clocks go back). */
export type OverlapPolicy = "first" | "last" | "both";

/** What all rules but the instant may say besides. */
export interface Bounded {
  /** whole minutes within +-1,440, negative: before; ascending, without repeats, 1 to 8 of them */
  readonly offsetsMinutes: readonly number[];
  /** the first local date ("YYYY-MM-DD") of an occurrence, before its offset; left out: no first */
  readonly startsOn?: string;
  /** the last such date, inclusive; left out: no last */
  readonly endsOn?: string;
}

/** What rules of wall times say of their zone. */
export interface InZone {
  /** IANA zone */
  readonly zone: string;
  /** the schedule of those who want it wherever they are: `zone` is theirs, and who changes zone changes schedule */
  readonly follows?: "user";
  readonly gap: GapPolicy;
  readonly overlap: OverlapPolicy;
}

/** A time of day in a zone, each day or on chosen weekdays. */
export interface WallRule extends Bounded, InZone {
  readonly kind: "wall";
  /** "HH:MM" or "HH:MM:SS" */
  readonly time: string;
  /** ISO weekdays 1 (Monday) to 7 (Sunday), ascending, without repeats */
  readonly days: readonly number[];
}

/** A recurrence as RFC 5545 section 3.3.10 has it, in local time; all date-times "YYYY-MM-DDTHH:MM:SS". */
export interface RecurrenceRule extends Bounded, InZone {
  readonly kind: "recurrence";
  /** DTSTART: where counting begins; itself an occurrence only where `rrule` yields it */
  readonly start: string;
  /** the RRULE's parts in their usual order, upper case, without their defaults; see src/timetable/rrule.ts */
  readonly rrule: string;
  /** RDATE: further local date-times, ascending, without repeats */
  readonly rdates: readonly string[];
  /** EXDATE: local date-times that are left out, ascending, without repeats */
  readonly exdates: readonly string[];
}

/** A timetable slot at a place. */
export interface TimetableRule extends Bounded {
  readonly kind: "timetable";
  readonly placeId: number;
  readonly slot: string;
}

/** One instant that a rule yields. */
export interface Occurrence {
  /**
   * The rule's own key of this occurrence, which stays the same when a corrected timetable or new zone data moves
   * `dueAt`: the instant; the local date-time with its fold; or place, slot and date; the offset behind them.
   */
  readonly key: string;
  /** epoch milliseconds, UTC */
  readonly dueAtMs: number;
}
