import Table from "cli-table3";

/** Where a verb writes its answer: standard output, or a test's own. */
export type Output = Pick<NodeJS.WritableStream, "write">;

/** A table without lines between the rows, as plain text. */
export function tableOf(columns: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const table = new Table({ head: [...columns], style: { head: [], border: [], compact: true } });
  for (const row of rows) table.push(row.map(cellOf));
  return `${table.toString()}\n`;
}

function cellOf(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (value instanceof Date) return timeOf(value);
  return typeof value === "object" ? JSON.stringify(value) : printable(String(value));
}

/** UTC to the second: what an operator compares with logs; the milliseconds only where there are some. */
export function timeOf(time: Date): string {
  return time.toISOString().replace("T", " ").replace(".000Z", "Z");
}

/** Names and reasons come from outside: control characters in them must not reach a terminal. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, " ");
}
