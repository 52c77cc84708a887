import { describe, expect, it } from "vitest";
import { geonamesReader } from "../../src/import/geonames.ts";
import { readAll, said } from "./bytes.ts";
import { geonamesLine } from "./geonames-line.ts";

describe("a dump of GeoNames", () => {
  it("gives its inhabited places", async () => {
    const text = [
      geonamesLine({}),
      geonamesLine({ id: "1", class: "H", code: "LK", name: "Müggelsee" }),
      geonamesLine({ id: "2", code: "PPLQ", name: "Wollseifen" }),
      geonamesLine({
        id: "3",
        name: "Tromsø",
        latitude: "69.6489",
        longitude: "18.95508",
        country: "",
        zone: "",
        population: "",
      }),
      "a\tb",
      "",
    ].join("\n");
    const berlin = { key: "geonames-2950159", name: "Berlin", country: "DE", latitude: 52.52437, longitude: 13.41053 };
    expect((await readAll(geonamesReader, text)).map(said)).toEqual([
      ["1", { ...berlin, zone: "Europe/Berlin", population: 3426354 }],
      ["2", "nothing"],
      ["3", "nothing"],
      ["4", { key: "geonames-3", name: "Tromsø", latitude: 69.6489, longitude: 18.95508 }],
      ["5", "malformed_line"],
    ]);
  });

  it.each(["key,name,latitude\n", "geonameid\tname\n", "\n"])("is told from another file: %j", async (text) => {
    await expect(readAll(geonamesReader, text)).rejects.toMatchObject({ code: "unknown_columns" });
  });
});
