import { CarillonError } from "../errors.ts";

/** A column of a CSV: where its cell goes in the JSON that the same thing is over HTTP. */
export interface Column {
  /** names of the fields, from the outermost */
  readonly path: readonly [string, ...string[]];
  /** what a cell says, where it isn't text; text that makes no sense is left as it is, for the contract to refuse */
  readonly value?: (cell: string) => unknown;
}

/** The columns that a kind has. */
export interface Columns {
  readonly required: readonly string[];
  readonly known: Readonly<Record<string, Column>>;
}

export function number(cell: string): unknown {
  return /^[+-]?\d+(?:\.\d+)?$/.test(cell) ? Number(cell) : cell;
}

/** "1 2 3": numbers, with blanks, commas or semicolons between them */
export function numbers(cell: string): unknown {
  return cell.split(/[ ,;]+/).map(number);
}

/**
 * The columns that a header names, in its order.
 *
 * @throws unknown_columns: for one that there isn't, that comes twice, or that is missing
 */
export function columnsOf(header: readonly string[], { known, required }: Columns): readonly Column[] {
  const names = header.map((name) => name.trim().toLowerCase());
  const wrong: string[] = [];
  for (const [index, name] of names.entries()) {
    const shown = JSON.stringify(name.slice(0, 60));
    if (!Object.hasOwn(known, name)) wrong.push(`there is no column ${shown}`);
    else if (names.indexOf(name) !== index) wrong.push(`${shown} comes twice`);
  }
  wrong.push(...required.filter((name) => !names.includes(name)).map((name) => `${name} is missing`));
  if (wrong.length > 0) {
    const hint = names.length === 1 && /[;\t]/.test(names[0] ?? "") ? " Cells are separated by commas." : "";
    throw new CarillonError(
      "unknown_columns",
      `The header (line 1) is not one of this kind: ${wrong.slice(0, 10).join(", ")}. Columns: ${Object.keys(known).join(", ")}.${hint}`,
    );
  }
  return names.flatMap((name) => known[name] ?? []);
}

/** The JSON that a record says; an empty cell says nothing. */
export function fieldsOf(cells: readonly string[], columns: readonly Column[]): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const [index, { path, value }] of columns.entries()) {
    const cell = cells[index] ?? "";
    if (cell !== "") put(fields, path, value === undefined ? cell : value(cell));
  }
  return fields;
}

function put(fields: Record<string, unknown>, [name, next, ...further]: Column["path"], value: unknown): void {
  if (next === undefined) {
    fields[name] = value;
    return;
  }
  const before = fields[name];
  const inner: Record<string, unknown> = typeof before === "object" && before !== null ? { ...before } : {};
  fields[name] = inner;
  put(inner, [next, ...further], value);
}

/** The column that a pointer into the JSON speaks of; of several below it, the first. */
export function columnAt(pointer: string, { known }: Columns): string | undefined {
  const paths = Object.entries(known).map(([name, { path }]) => [name, `/${path.join("/")}`] as const);
  const found =
    paths.find(([, path]) => pointer === path || pointer.startsWith(`${path}/`)) ??
    paths.find(([, path]) => path.startsWith(`${pointer}/`));
  return found?.[0];
}
