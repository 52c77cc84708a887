import { CarillonError, ManyErrors } from "../errors.ts";

/** What one record of a file turned out to be. */
export type Read = Place &
  (
    | { readonly what: "fields"; readonly fields: unknown }
    | { readonly what: "fault"; readonly error: CarillonError }
    | { readonly what: "header" }
    /** holds nothing of this kind */
    | { readonly what: "nothing" }
  );

interface Place {
  /** the first of its lines, counted from 1 */
  readonly line: number;
  /** the last of its lines */
  readonly through: number;
}

/** A line that was left out, as it is reported. */
export interface Fault {
  readonly line: number;
  readonly code: string;
  readonly reason: string;
  /** of a CSV */
  readonly column?: string;
  /** RFC 6901 pointer into the line's JSON */
  readonly pointer?: string;
}

/** Turns a line's text into its fields; `where` says how the format names the field that a pointer means. */
export interface Reader {
  read(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<readonly Read[]>;
  where(pointer: string): Pick<Fault, "column" | "pointer">;
}

/** All that is wrong with one line, under the code of the first. */
export function faultOf(line: number, error: CarillonError, where: Reader["where"]): Fault {
  const errors = error instanceof ManyErrors ? error.errors : [error];
  const reasons = errors.slice(0, 5).map(({ message, pointer }) => {
    const field = pointer === undefined || errors.length === 1 ? undefined : fieldOf(where(pointer));
    return field === undefined ? message : `${field}: ${message}`;
  });
  const more = errors.length > 5 ? `; and ${errors.length - 5} more` : "";
  const place = error.pointer === undefined || error.pointer === "" ? {} : where(error.pointer);
  return { line, code: error.code, reason: `${reasons.join("; ")}${more}`, ...place };
}

function fieldOf({ column, pointer }: Pick<Fault, "column" | "pointer">): string | undefined {
  return column ?? pointer;
}

export function malformed(detail: string): CarillonError {
  return new CarillonError("malformed_line", detail);
}
