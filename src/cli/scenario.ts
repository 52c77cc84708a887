import type { DemoTopic } from "./demo-client.ts";

/** People of one place who all wish the same, and when that must come. */
export interface ScenarioPlace {
  /** of a city of places-of-the-world.ts */
  readonly key: string;
  /** tells people of one place with different wishes apart */
  readonly wish?: string;
  /** what the API takes as the when of a subscription */
  readonly when: Readonly<Record<string, unknown>>;
  /** epoch milliseconds, by an oracle that has nothing in common with what plans; null: never within the scenario */
  readonly expectedDueAtMs: number | null;
}

/** A night or an evening that the demo plays, quicker than it was. */
export interface Scenario {
  readonly name: string;
  /** one sentence */
  readonly about: string;
  readonly topic: Pick<DemoTopic, "title" | "body">;
  /** seconds of it in a real one */
  readonly speed: number;
  readonly places: readonly ScenarioPlace[];
  /** parameters of a prayer timetable that its places get; null: theirs are not asked for */
  readonly timetable: Readonly<Record<string, unknown>> | null;
}

/** A stretch of a scenario in which moments follow each other closely. */
export interface ScenarioWindow {
  /** epoch milliseconds of its first and its last moment */
  readonly firstMs: number;
  readonly lastMs: number;
}

/**
 * The stretches of a scenario, in order. Between them nobody is due, and the clock is set on.
 * @param idleMs from here on a pause between two moments ends a window
 */
export function windowsOf({ places }: Pick<Scenario, "places">, idleMs: number): readonly ScenarioWindow[] {
  const dueAtMs = places.flatMap((place) => place.expectedDueAtMs ?? []).sort((one, other) => one - other);
  const windows: ScenarioWindow[] = [];
  for (const ms of dueAtMs) {
    const last = windows.at(-1);
    if (last === undefined || ms - last.lastMs >= idleMs) windows.push({ firstMs: ms, lastMs: ms });
    else windows[windows.length - 1] = { ...last, lastMs: ms };
  }
  return windows;
}
