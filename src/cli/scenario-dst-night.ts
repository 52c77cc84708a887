import type { GapPolicy } from "../reminder/rule.ts";
import type { PlaceOfTheWorld } from "./places-of-the-world.ts";
import type { Scenario } from "./scenario.ts";
import { instantOf } from "./wall-time-oracle.ts";

const date = "2027-03-28";
const time = "02:30";

/** From Tehran to the Azores, as the night goes west. Where the name is followed by `skip`, a gap means no reminder. */
const cities: readonly (readonly [key: string, gap: GapPolicy])[] = [
  ["ir-tehran", "shift"],
  ["sa-riyadh", "shift"],
  ["ke-nairobi", "shift"],
  ["tr-istanbul", "shift"],
  ["ru-moscow", "shift"],
  // clocks go forward at midnight
  ["lb-beirut", "shift"],
  ["eg-cairo", "shift"],
  ["za-johannesburg", "shift"],
  // half an hour before their gap
  ["gr-athens", "shift"],
  ["fi-helsinki", "shift"],
  ["ua-kyiv", "shift"],
  ["ro-bucharest", "shift"],
  ["md-chisinau", "shift"],
  ["ng-lagos", "shift"],
  ["dz-algiers", "shift"],
  // within it
  ["es-madrid", "shift"],
  ["fr-paris", "shift"],
  ["de-berlin", "shift"],
  ["de-berlin", "skip"],
  ["it-rome", "shift"],
  ["it-rome", "skip"],
  ["pl-warsaw", "shift"],
  ["se-stockholm", "shift"],
  // half an hour behind it
  ["gb-london", "shift"],
  ["ie-dublin", "shift"],
  ["pt-lisbon", "shift"],
  ["ma-casablanca", "shift"],
  ["is-reykjavik", "shift"],
  ["sn-dakar", "shift"],
  ["gh-accra", "shift"],
  ["pt-ponta-delgada", "shift"],
];

/** Everybody wants half past two by the clock on their own wall, in the night in which Europe's clocks go forward. */
export function dstNight(world: readonly PlaceOfTheWorld[]): Scenario {
  const zones = new Map(world.map(({ key, zone }) => [key, zone]));
  return {
    name: "dst-night",
    about: `People from Tehran to the Azores wish to be rung at ${time}, in the night in which Europe's clocks go forward.`,
    topic: { title: "Half past two", body: "By the clock on your wall." },
    speed: 60,
    timetable: null,
    places: cities.map(([key, gap]) => {
      const zone = zones.get(key);
      if (zone === undefined) throw new Error(`there is no city ${key}`);
      return {
        key,
        ...(gap === "skip" ? { wish: "not in a gap" } : {}),
        when: { daily: { time, zone, gap } },
        expectedDueAtMs: instantOf(`${date}T${time}`, zone, gap),
      };
    }),
  };
}
