import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { inspectBytes } from "../../src/import/inspect-bytes.ts";
import { linesOf } from "../../src/import/text-lines.ts";
import { chunked } from "./bytes.ts";

describe("inspectBytes", () => {
  it.each([
    ["", 0],
    ["a", 1],
    ["a\n", 1],
    ["a\r\nb", 2],
    ["a\n\n", 2],
    ["Tromsø,مكة,🕌\n", 1],
  ])("counts the lines of %j and knows it by its sha256, however it is cut", async (text, lines) => {
    const sha256 = createHash("sha256").update(text).digest("hex");
    for (const size of [1, 2, 3, 65_536]) expect(await inspectBytes(chunked(text, size))).toEqual({ sha256, lines });
  });

  it.each([
    { what: "Latin-1", bytes: Buffer.from("user_id\nok\nzoë\nok\n", "latin1"), said: /^Line 3 is not in UTF-8/ },
    { what: "a character that is cut off at the end", bytes: Buffer.from("a\nø").subarray(0, -1), said: /^Line 2 / },
    { what: "UTF-16, little end first", bytes: Buffer.from("\ufeffuser_id\n", "utf16le"), said: /UTF-16/ },
    { what: "UTF-16 without a mark", bytes: Buffer.from("user_id\n", "utf16le"), said: /UTF-16/ },
    { what: "UTF-16, big end first", bytes: Buffer.from("\ufeffuser_id\n", "utf16le").swap16(), said: /UTF-16/ },
    { what: "no text", bytes: Buffer.from([0x50, 0x4b, 3, 4, 0, 0]), said: /no text/ },
  ])("refuses $what", async ({ bytes, said }) => {
    for (const size of [7, 65_536]) {
      await expect(inspectBytes(chunked(bytes, size))).rejects.toMatchObject({
        code: "wrong_encoding",
        message: expect.stringMatching(said),
      });
    }
  });
});

describe("a file that is one long line", () => {
  it("is refused where it does not end", async () => {
    async function* endless(): AsyncGenerator<Uint8Array> {
      yield Buffer.from("[\n");
      for (;;) yield Buffer.alloc(65_536, "x");
    }
    await expect(inspectBytes(endless())).rejects.toMatchObject({
      code: "malformed_line",
      message: expect.stringMatching(/^Line 2 is longer/),
    });
  });
});

describe("linesOf", () => {
  it("gives the same lines however the bytes are cut", async () => {
    const text = "\ufefferste\r\nTromsø\n\n  مكة \r\nlast";
    for (let size = 1; size < 40; size += 1) {
      const lines = [];
      for await (const some of linesOf(chunked(text, size))) lines.push(...some);
      expect(lines).toEqual([
        { line: 1, text: "erste" },
        { line: 2, text: "Tromsø" },
        { line: 3, text: "" },
        { line: 4, text: "  مكة " },
        { line: 5, text: "last" },
      ]);
    }
  });
});
