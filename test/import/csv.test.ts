import { fc, test } from "@fast-check/vitest";
import { describe, expect, it } from "vitest";
import { type Columns, number, numbers } from "../../src/import/columns.ts";
import { csvReader } from "../../src/import/csv.ts";
import { faultOf } from "../../src/import/record.ts";
import { readAll, said } from "./bytes.ts";

const columns: Columns = {
  required: ["id"],
  known: {
    id: { path: ["id"] },
    north: { path: ["at", "north"], value: number },
    east: { path: ["at", "east"], value: number },
    days: { path: ["days"], value: numbers },
  },
};
const reader = csvReader(columns);
const read = async (text: string, size?: number) => (await readAll(reader, text, size)).map(said);

describe("a CSV", () => {
  it("becomes the JSON that HTTP takes, with the lines that it came from", async () => {
    const text = '\ufeffid, North ,east,days\r\na,1.5,-2,"1, 2;3"\r\n\r\n"b ""x"" , y",,,\r\n"c\r\nd",+1,1e5,x\r\n';
    const expected = [
      ["1", "header"],
      ["2", { id: "a", at: { north: 1.5, east: -2 }, days: [1, 2, 3] }],
      ["3", "nothing"],
      ["4", { id: 'b "x" , y' }],
      ["5-6", { id: "c\nd", at: { north: 1, east: "1e5" }, days: ["x"] }],
    ];
    for (const size of [1, 5, 20, 65_536]) expect(await read(text, size)).toEqual(expected);
  });

  it("loses no line but the one that is at fault", async () => {
    const text = ["id,days", "a,1", '"b,1', "c,1", 'd"x,1', '"e"x,1', "f", "g,1,2", '"h', "i,1", '"j"', "k,2"].join(
      "\n",
    );
    expect(await read(text)).toEqual([
      ["1", "header"],
      ["2", { id: "a", days: [1] }],
      ["3", "malformed_line"],
      ["4", { id: "c", days: [1] }],
      ["5", "malformed_line"],
      ["6", "malformed_line"],
      ["7", "malformed_line"],
      ["8", "malformed_line"],
      ["9", "malformed_line"],
      ["10", { id: "i", days: [1] }],
      ["11", "malformed_line"],
      ["12", { id: "k", days: [2] }],
    ]);
  });

  it("ends a quote that is never closed with its own line, also far from the end", async () => {
    const many = Array.from({ length: 3000 }, (_, index) => `u${index},1`);
    const records = await read(["id,days", '"open,1', ...many].join("\n"), 1000);
    expect(records.filter(([, what]) => what === "malformed_line")).toEqual([["2", "malformed_line"]]);
    expect(records).toHaveLength(3002);
    expect(records.at(-1)).toEqual(["3002", { id: "u2999", days: [1] }]);
  });

  it.each([
    ["", /empty/],
    ["id,colour\na,b", /there is no column "colour"/],
    ["north,east\n1,2", /id is missing.*Columns: id, north, east, days/],
    ["id,ID\na,b", /"id" comes twice/],
    ["id;north\na;1", /Cells are separated by commas/],
    ["a,1\nb,2", /there is no column "a"/],
    ['"id,north\na,1', /there is no column/],
  ])("is refused for its header: %j", async (text, message) => {
    await expect(read(text)).rejects.toMatchObject({
      code: "unknown_columns",
      message: expect.stringMatching(message),
    });
  });

  test.prop([
    fc.array(fc.record({ id: fc.string({ minLength: 1, unit: "grapheme" }), north: fc.integer() }), { maxLength: 20 }),
    fc.integer({ min: 1, max: 50 }),
  ])("says what was written, whatever the cells hold and however it is cut", async (rows, size) => {
    const storable = rows.filter(({ id }) => id.split(/\r?\n/).length < 20 && !id.includes("\r"));
    const text = storable.map(({ id, north }) => `"${id.replaceAll('"', '""')}",${north}\n`).join("");
    const records = await readAll(reader, `id,north\n${text}`, size);
    expect(records.slice(1).map((record) => said(record)[1])).toEqual(
      storable.map(({ id, north }) => ({ id, at: { north } })),
    );
  });

  it("names the column that a pointer speaks of", () => {
    expect(["/id", "/at/north", "/at", "/days/2", "/else"].map((pointer) => reader.where(pointer).column)).toEqual([
      "id",
      "north",
      "north",
      "days",
      undefined,
    ]);
  });
});

describe("faultOf", () => {
  it("says all that is wrong with a line, under the code of the first", async () => {
    const { CarillonError, ManyErrors } = await import("../../src/errors.ts");
    const one = new CarillonError("unknown_zone", "No such zone.", { pointer: "/at/north" });
    const two = new CarillonError("invalid_request", "Too long.", { pointer: "/id" });
    expect(faultOf(3, one, reader.where)).toEqual({
      line: 3,
      code: "unknown_zone",
      reason: "No such zone.",
      column: "north",
    });
    expect(faultOf(4, new ManyErrors([one, two]), reader.where)).toEqual({
      line: 4,
      code: "unknown_zone",
      reason: "north: No such zone.; id: Too long.",
      column: "north",
    });
  });
});
