/** One line of a text, without its end. */
export interface Line {
  /** counted from 1 */
  readonly line: number;
  readonly text: string;
}

/**
 * The lines of a text in UTF-8, as they come: some at a time, since a promise for each would take longer than the line.
 * They end in LF or CRLF; a byte order mark is dropped.
 *
 * @param chunks bytes that `inspectBytes` has found to be UTF-8
 */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<readonly Line[]> {
  const decoder = new TextDecoder("utf-8");
  let line = 0;
  let rest = "";
  for await (const chunk of chunks) {
    const text = decoder.decode(chunk, { stream: true });
    const lastEnd = text.lastIndexOf("\n");
    if (lastEnd === -1) {
      rest += text;
      continue;
    }
    yield (rest + text.slice(0, lastEnd)).split("\n").map(numbered);
    rest = text.slice(lastEnd + 1);
  }
  rest += decoder.decode();
  if (rest !== "") yield [numbered(rest)];

  function numbered(text: string): Line {
    line += 1;
    return { line, text: text.endsWith("\r") ? text.slice(0, -1) : text };
  }
}
