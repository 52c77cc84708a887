import { describe, expect, it } from "vitest";
import { csvReader } from "../../src/import/csv.ts";
import { kinds } from "../../src/import/kinds.ts";
import { ndjsonReader } from "../../src/import/ndjson.ts";
import { faultOf } from "../../src/import/record.ts";
import { type ImportKind, importKinds } from "../../src/store/imports.ts";
import { readAll } from "./bytes.ts";

/** What a kind refuses of a text without asking the database: code and field of each line. */
async function refusedOf(name: ImportKind, format: "csv" | "ndjson", text: string): Promise<Record<number, string>> {
  const { columns } = kinds[name];
  const reader = format === "ndjson" || columns === null ? ndjsonReader : csvReader(columns);
  const { refused } = kinds[name].check(await readAll(reader, text));
  const faults = refused.map(({ line, error }) => faultOf(line, error, reader.where));
  return Object.fromEntries(
    faults.map(({ line, code, column, pointer }) => [line, `${code} ${column ?? pointer ?? ""}`]),
  );
}

/** The first line of each is good. */
const cases: readonly {
  readonly kind: ImportKind;
  readonly format: "csv" | "ndjson";
  readonly lines: readonly string[];
  readonly refused: Readonly<Record<number, string>>;
}[] = [
  {
    kind: "users",
    format: "csv",
    lines: [
      "user_id,zone,locale",
      "ada,europe/berlin,de",
      "bob,,",
      ",UTC,",
      "eve,Mars/Olympus,",
      "zed,,german language",
    ],
    refused: { 4: "invalid_request user_id", 5: "unknown_zone zone", 6: "invalid_request locale" },
  },
  {
    kind: "users",
    format: "ndjson",
    lines: ['{"userId":"ada","zone":"UTC"}', '{"userId":"bob","zone":null}', '{"user_id":"eve"}', "[]", "{", "7"],
    refused: {
      2: "invalid_request /zone",
      3: "invalid_request /userId",
      4: "invalid_request ",
      5: "malformed_line ",
      6: "invalid_request ",
    },
  },
  {
    kind: "places",
    format: "csv",
    lines: [
      "key,name,latitude,longitude,zone,country,population,timetable",
      "berlin,Berlin,52.52,13.405,Europe/Berlin,DE,3700000,prayer",
      "tromso,Tromsø,69.65,18.96,,,,",
      "nearest,Nearest,1,1,UTC,,,",
      "north,North,91,0,UTC,,,",
      "word,Word,fifty,0,UTC,,,",
      "zone,Zone,1,1,X/Y,,,",
      "de,De,1,1,UTC,de,,",
      "few,Few,1,1,UTC,,-1,",
    ],
    refused: {
      4: "invalid_request key",
      5: "invalid_request latitude",
      6: "invalid_request latitude",
      7: "unknown_zone zone",
      8: "invalid_request country",
      9: "invalid_request population",
    },
  },
  {
    kind: "endpoints",
    format: "csv",
    lines: ["user_id,channel,destination,address", "ada,,crm,", "bob,pigeon,crm,", ",,crm,x", '"a\tb",,crm,x'],
    refused: { 3: "invalid_request channel", 4: "invalid_request user_id", 5: "invalid_request user_id" },
  },
  {
    kind: "subscriptions",
    format: "csv",
    lines: [
      "user_id,topic,at,time,zone,days,place,place_id,latitude,longitude,slot,offset_minutes",
      "ada,live,2027-01-01T12:00:00Z,,,,,,,,,",
      "ada,live,,07:30,Europe/Berlin,1 2 3,,,,,,",
      "ada,live,,,,,berlin,,,,fajr,-10",
      "ada,live,,,,,,7,,,fajr,",
      "ada,live,,,,,,,52.5,13.4,fajr,",
      "ada,live,,,,,,,,,,",
      "ada,live,2027-01-01T12:00:00Z,07:30,UTC,,,,,,,",
      "ada,live,,,,,berlin,7,,,fajr,",
      "ada,live,,,,,berlin,,,,,",
      "ada,live,,07:30,UTC,mon,,,,,,",
      "ada,live,,,,,,,52.5,,fajr,",
      "ada,live,,,,,berlin,,,,fajr,soon",
    ],
    refused: {
      7: "invalid_request ",
      8: "invalid_request ",
      9: "invalid_request place",
      10: "invalid_request slot",
      11: "invalid_request days",
      12: "invalid_request longitude",
      13: "invalid_request offset_minutes",
    },
  },
  {
    kind: "subscriptions",
    format: "ndjson",
    lines: [
      '{"userId":"ada","topic":"live","daily":{"time":"07:30","zone":"UTC"},"endpoints":[{"destination":"crm"}]}',
      '{"userId":"ada","topic":"live","daily":{"time":"07:30","zone":"UTC"},"endpoints":[{"channel":"pigeon"}]}',
    ],
    refused: { 2: "invalid_request /endpoints/0/channel" },
  },
  {
    kind: "timetables",
    format: "ndjson",
    lines: [
      '{"name":"of-the-city","kind":"prayer","parameters":{"method":"Turkey"}}',
      '{"name":"of-the-city","kind":"tides"}',
      '{"name":"a b","kind":"prayer"}',
      '{"name":"x","kind":"prayer","parameters":{"method":"Guess"}}',
    ],
    refused: { 2: "invalid_request /kind", 3: "invalid_request /name", 4: "invalid_request /parameters/method" },
  },
];

describe("each kind", () => {
  it.each(cases)("of $kind as $format refuses what makes no sense", async ({ kind, format, lines, refused }) => {
    expect(await refusedOf(kind, format, lines.join("\n"))).toEqual(refused);
  });

  it("has a case here", () => {
    expect([...new Set(cases.map(({ kind }) => kind))].sort()).toEqual([...importKinds].sort());
  });

  it("counts what it passes over and which zones it suggests", async () => {
    const text = "key,name,latitude,longitude,zone\na,A,52.5,13.4,\n\nb,B,1,1,UTC\nc,C,0,0,\n";
    const { columns } = kinds.places;
    if (columns === null) throw new Error("places have columns");
    const batch = kinds.places.check(await readAll(csvReader(columns), text));
    expect(batch).toMatchObject({ refused: [], skipped: 1, zonesSuggested: 2 });
  });
});
