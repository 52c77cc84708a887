import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";
import { CarillonError } from "../errors.ts";

export interface Inspected {
  /** hex */
  readonly sha256: string;
  readonly lines: number;
}

const lineFeed = 0x0a;
/** Far more than a timetable of many years, and little enough for memory. */
const lineBytesMax = 8_388_608;

/**
 * Reads a file through before anything of it is stored: what it is known by, how long it is, and that it is lines of text in
 * UTF-8.
 *
 * @throws wrong_encoding, saying which line holds the first bytes that are none; malformed_line for one of more than 8 MiB
 */
export async function inspectBytes(chunks: AsyncIterable<Uint8Array>): Promise<Inspected> {
  const hash = createHash("sha256");
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let ended = 0;
  /** of the line that goes on in the next chunk */
  let openBytes = 0;
  let first = true;
  let begun: Uint8Array = new Uint8Array();
  for await (const chunk of chunks) {
    if (first) refuseUtf16(chunk);
    first = false;
    hash.update(chunk);
    const text = Buffer.concat([begun, chunk]);
    decoded(() => decoder.decode(chunk, { stream: true }), text, ended);
    begun = begunCharacter(text);
    const lastEnd = chunk.lastIndexOf(lineFeed);
    ended += count(chunk);
    openBytes = lastEnd === -1 ? openBytes + chunk.length : chunk.length - lastEnd - 1;
    if (openBytes > lineBytesMax) throw tooLong(ended + 1);
  }
  decoded(() => decoder.decode(), begun, ended);
  return { sha256: hash.digest("hex"), lines: ended + (openBytes > 0 ? 1 : 0) };
}

function tooLong(line: number): CarillonError {
  return new CarillonError("malformed_line", `Line ${line} is longer than 8 MiB: a file has one record a line.`);
}

/** UTF-16 of plain text has a NUL beside each letter, which UTF-8 would let pass; the mark at its start is refused too. */
function refuseUtf16(chunk: Uint8Array): void {
  const [one, two] = chunk;
  const marked = (one === 0xff && two === 0xfe) || (one === 0xfe && two === 0xff);
  if (marked || chunk.subarray(0, 4096).includes(0)) {
    throw new CarillonError("wrong_encoding", "This is UTF-16 or no text at all: save the file in UTF-8.");
  }
}

function decoded(decode: () => string, text: Uint8Array, linesBefore: number): void {
  try {
    decode();
  } catch {
    throw new CarillonError(
      "wrong_encoding",
      `Line ${linesBefore + linesBeforeFault(text) + 1} is not in UTF-8; it may be Latin-1 or Windows-1252. Save the file in UTF-8.`,
    );
  }
}

/** Lines that end before the first one that is no UTF-8, the last of which may be unfinished. */
function linesBeforeFault(text: Uint8Array): number {
  let from = 0;
  for (let lines = 0; ; lines += 1) {
    const end = text.indexOf(lineFeed, from);
    if (end === -1 || !isUtf8(text.subarray(from, end))) return lines;
    from = end + 1;
  }
}

/** The bytes of a character that ends in the next chunk. */
function begunCharacter(text: Uint8Array): Uint8Array {
  const tail = text.subarray(-3);
  const lead = tail.findLastIndex((byte) => byte >= 0xc0);
  return lead === -1 || isUtf8(tail.subarray(lead)) ? new Uint8Array() : tail.slice(lead);
}

function count(chunk: Uint8Array): number {
  let lines = 0;
  for (let at = chunk.indexOf(lineFeed); at !== -1; at = chunk.indexOf(lineFeed, at + 1)) lines += 1;
  return lines;
}
