import { CarillonError } from "../errors.ts";
import { number } from "./columns.ts";
import { malformed, type Read, type Reader } from "./record.ts";
import { type Line, linesOf } from "./text-lines.ts";

/** Of the table "geoname" (https://download.geonames.org/export/dump/readme.txt), counted from 0. */
const column = {
  geonameId: 0,
  name: 1,
  latitude: 4,
  longitude: 5,
  featureClass: 6,
  featureCode: 7,
  country: 8,
  population: 14,
  zone: 17,
} as const;
const columnCount = 19;

/** Populated places where nobody lives any more: historical, abandoned and destroyed ones. */
const deserted = new Set(["PPLH", "PPLCH", "PPLQ", "PPLW"]);

/**
 * A dump of GeoNames (cities500, a country's, allCountries), as places: its populated places (feature class P) that are
 * inhabited. What else it holds is passed over. Keys are "geonames-2950159".
 */
export const geonamesReader: Reader = {
  read: readDump,
  where: (pointer) => ({ pointer }),
};

/** @throws unknown_columns where the first line is not one of a dump */
async function* readDump(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<readonly Read[]> {
  let first = true;
  for await (const lines of linesOf(chunks)) {
    if (first) refuseOthers(lines[0]?.text ?? "");
    first = false;
    yield lines.map(readLine);
  }
}

function refuseOthers(text: string): void {
  const cells = text.split("\t");
  if (cells.length === columnCount && /^\d+$/.test(cells[column.geonameId] ?? "")) return;
  throw new CarillonError(
    "unknown_columns",
    `This is no dump of GeoNames: its lines have ${columnCount} cells separated by tabs, the first of them a number.`,
  );
}

function readLine({ line, text }: Line): Read {
  const place = { line, through: line };
  if (text.trim() === "") return { ...place, what: "nothing" };
  const cells = text.split("\t");
  if (cells.length !== columnCount) {
    const error = malformed(`The line has ${cells.length} cells, and GeoNames ${columnCount}.`);
    return { ...place, what: "fault", error };
  }
  const cell = (name: keyof typeof column) => cells[column[name]] ?? "";
  if (cell("featureClass") !== "P" || deserted.has(cell("featureCode"))) return { ...place, what: "nothing" };
  const fields = {
    key: `geonames-${cell("geonameId")}`,
    name: cell("name"),
    latitude: number(cell("latitude")),
    longitude: number(cell("longitude")),
    ...given("country", cell("country")),
    ...given("zone", cell("zone")),
    ...given("population", number(cell("population"))),
  };
  return { ...place, what: "fields", fields };
}

function given(name: string, value: unknown): Record<string, unknown> {
  return value === "" ? {} : { [name]: value };
}
