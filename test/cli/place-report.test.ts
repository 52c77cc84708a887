import { describe, expect, it } from "vitest";
import { placeReports, type WatchedPlace } from "../../src/cli/place-report.ts";
import { PlayedClock } from "../../src/cli/played-clock.ts";
import type { ReceivedReminder } from "../../src/fakes/receiver-log.ts";

const night = Date.parse("2027-03-28T00:00:00Z");
const minuteMs = 60_000;
/** when the clock was set, real time */
const startMs = 1_800_000_000_000;

/** Midnight at the start, sixty times as fast; set on to two o'clock a minute later. */
function clockOfTheNight(): PlayedClock {
  const clock = new PlayedClock();
  clock.add({ realMs: startMs, clockMs: night, speed: 60 });
  clock.add({ realMs: startMs + 60_000, clockMs: night + 120 * minuteMs, speed: 60 });
  return clock;
}

describe("PlayedClock", () => {
  it("tells by which setting an instant came, and what was shown at a real time", () => {
    const clock = clockOfTheNight();
    expect(clock.realTimeOf(night + 30 * minuteMs) - startMs).toBe(30_000);
    expect(clock.realTimeOf(night + 130 * minuteMs) - startMs).toBe(70_000);
    expect(clock.shownAt(startMs + 30_000)).toBe(night + 30 * minuteMs);
    expect(clock.shownAt(startMs + 61_000)).toBe(night + 121 * minuteMs);
    // before it was first set
    expect(clock.shownAt(startMs - 1000)).toBe(night - minuteMs);
    expect(() => new PlayedClock().shownAt(0)).toThrow("never set");
  });
});

function receipt(user: string, dueInMinutes: number, lateMs: number): ReceivedReminder {
  const dueAtMs = night + dueInMinutes * minuteMs;
  const receivedAtMs = clockOfTheNight().realTimeOf(dueAtMs) + lateMs;
  return {
    id: `d_${user}`,
    user,
    bucket: "7",
    group: 0,
    node: "node-1",
    attempt: 0,
    webhookId: "",
    receivedAtMs,
    dueAtMs,
    replied: 200,
  };
}

const place = (name: string, people: readonly string[], dueInMinutes: number | null): WatchedPlace => ({
  place: name,
  zone: "Europe/Berlin",
  people: new Set(people),
  expectedDueAtMs: dueInMinutes === null ? null : night + dueInMinutes * minuteMs,
});
const report = (places: readonly WatchedPlace[], log: readonly ReceivedReminder[]) =>
  placeReports(places, log, clockOfTheNight());

describe("placeReports", () => {
  it("says of each place what its people got and when, on both sides of a clock that was set on", () => {
    const { places, faults } = report(
      [place("Athens", ["a", "b"], 30), place("Berlin", ["c"], 130), place("Nobody's", ["d"], null)],
      [receipt("b", 30, 900), receipt("a", 30, 50), receipt("c", 130, 20.06), receipt("stranger", 1, 0)],
    );
    expect(faults).toEqual([]);
    expect(places).toEqual([
      {
        place: "Athens",
        zone: "Europe/Berlin",
        people: 2,
        expected_due_at: "2027-03-28T00:30:00Z",
        received: 2,
        first_received_at: "2027-03-28T00:30:03Z",
        first_lateness_ms: 50,
      },
      {
        place: "Berlin",
        zone: "Europe/Berlin",
        people: 1,
        expected_due_at: "2027-03-28T02:10:00Z",
        received: 1,
        first_received_at: "2027-03-28T02:10:01Z",
        first_lateness_ms: 20.1,
      },
      {
        place: "Nobody's",
        zone: "Europe/Berlin",
        people: 1,
        expected_due_at: null,
        received: 0,
        first_received_at: null,
        first_lateness_ms: null,
      },
    ]);
  });

  it.each([
    ["due a minute before its own", receipt("a", 29, 50)],
    ["due an hour after its own", receipt("a", 150, 50)],
    ["received before its own minute", receipt("a", 30, -1)],
    ["received so late that it was another time", receipt("a", 30, 5001)],
  ])("finds a place that got one %s", (_, received) => {
    const { faults } = report([place("Athens", ["a"], 30)], [received]);
    expect(faults).toEqual([expect.stringMatching(/^Athens got 1 at another minute, such as one at .+00:30:00Z$/)]);
  });

  it("finds what came though nothing was to come, and who got nothing", () => {
    const { faults } = report(
      [place("Berlin", ["a"], null), place("Athens", ["b", "c"], 30)],
      [receipt("a", 30, 10), receipt("b", 30, 10)],
    );
    expect(faults).toEqual([
      "Berlin got 1 at another minute, such as one at 2027-03-28T00:30:00Z; none was to come",
      "1 of 2 people of Athens got none",
    ]);
  });
});
