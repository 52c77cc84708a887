import type { Read, Reader } from "../../src/import/record.ts";

/** Bytes in chunks of one size, as a file comes. */
export async function* chunked(bytes: Uint8Array | string, size = 65_536): AsyncGenerator<Uint8Array> {
  const all = typeof bytes === "string" ? Buffer.from(bytes) : bytes;
  for (let from = 0; from < all.length; from += size) yield all.subarray(from, from + size);
}

export async function readAll(reader: Reader, text: Uint8Array | string, size?: number): Promise<Read[]> {
  const records: Read[] = [];
  for await (const some of reader.read(chunked(text, size))) records.push(...some);
  return records;
}

/** What a record says, in one word or its fields. */
export function said(record: Read): readonly [lines: string, what: unknown] {
  const { line, through } = record;
  const lines = line === through ? `${line}` : `${line}-${through}`;
  switch (record.what) {
    case "fields":
      return [lines, record.fields];
    case "fault":
      return [lines, record.error.code];
    default:
      return [lines, record.what];
  }
}
