import { malformed, type Read, type Reader } from "./record.ts";
import { type Line, linesOf } from "./text-lines.ts";

/** One JSON object a line, the same that HTTP takes; empty lines are passed over. */
export const ndjsonReader: Reader = {
  read: readNdjson,
  where: (pointer) => ({ pointer }),
};

async function* readNdjson(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<readonly Read[]> {
  for await (const lines of linesOf(chunks)) yield lines.map(readLine);
}

function readLine({ line, text }: Line): Read {
  const place = { line, through: line };
  if (text.trim() === "") return { ...place, what: "nothing" };
  try {
    const fields: unknown = JSON.parse(text);
    return { ...place, what: "fields", fields };
  } catch (error) {
    const reason = error instanceof Error ? error.message.slice(0, 200) : "";
    return { ...place, what: "fault", error: malformed(`The line is not valid JSON: ${reason}`) };
  }
}
