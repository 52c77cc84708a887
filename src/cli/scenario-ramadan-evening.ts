import type { Scenario } from "./scenario.ts";

const date = "2027-02-12";

/**
 * Sunset on the first Friday of Ramadan 1448, UTC, to the nearest minute: by astronomy-engine (SearchRiseSet), which shares
 * nothing with what plans. test/cli/scenarios.test.ts computes the table anew. Cities whose sunset lies within four seconds
 * of half a minute are left out: there the nearest minute is anybody's guess.
 */
const sunsets: Readonly<Record<string, string>> = {
  "pk-karachi": "13:24",
  "ae-dubai": "14:11",
  "az-baku": "14:12",
  "ir-tehran": "14:13",
  "ae-abu-dhabi": "14:15",
  "iq-baghdad": "14:44",
  "sa-riyadh": "14:45",
  "sa-medina": "15:14",
  "so-mogadishu": "15:14",
  "sy-damascus": "15:16",
  "sa-makkah": "15:17",
  "lb-beirut": "15:19",
  "sa-jeddah": "15:19",
  "jo-amman": "15:20",
  "il-jerusalem": "15:23",
  "et-addis-ababa": "15:34",
  "tr-istanbul": "15:34",
  "eg-cairo": "15:41",
  "ba-sarajevo": "16:12",
  "tn-tunis": "16:56",
};

/** In each city the fast is broken when its own sun sets. */
export function ramadanEvening(): Scenario {
  return {
    name: "ramadan-evening",
    about:
      "People from Karachi to Tunis wish to hear of maghrib in their own city, on the first Friday of Ramadan 1448.",
    topic: { title: "Maghrib", body: "The sun has set." },
    speed: 60,
    timetable: { method: "MuslimWorldLeague" },
    places: Object.entries(sunsets).map(([key, time]) => ({
      key,
      when: { timetable: { place: key, slot: "maghrib" } },
      expectedDueAtMs: Date.parse(`${date}T${time}:00Z`),
    })),
  };
}
