import { CommanderError } from "commander";
import { CarillonError } from "../errors.ts";
import { codeOf, isTransient, toCarillonError } from "../store/database.ts";
import { exitCodeOf, exitCodes } from "./exit-code.ts";

export interface Explanation {
  /** what went wrong, and what to do where that can be known; empty where it has been said */
  readonly text: string;
  readonly exitCode: number;
}

/** What a person reads who typed a command that failed, and what a program sees that started it. */
export function explain(error: unknown): Explanation {
  if (error instanceof CommanderError) {
    // help that was asked for, or what is wrong with the command line
    return { text: "", exitCode: error.exitCode === 0 ? exitCodes.ok : exitCodes.usage };
  }
  if (error instanceof CarillonError) {
    return { text: `${error.message} (${error.code})`, exitCode: exitCodeOf(error) };
  }
  const code = codeOf(error) ?? "";
  // the role, its password or the database (SQLSTATE 28000, 28P01, 3D000): trying again will not help
  if (code.startsWith("28") || code === "3D000") {
    const text = `Postgres refused the connection: ${messageOf(error)}. Correct DATABASE_URL.`;
    return { text, exitCode: exitCodes.configuration };
  }
  if (isTransient(error)) {
    const text = `Postgres can't be reached or did not answer in time (${messageOf(error)}): does it run where DATABASE_URL says?`;
    return { text, exitCode: exitCodes.unavailable };
  }
  const known = toCarillonError(error);
  if (known.code !== "internal") return explain(known);
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { text, exitCode: exitCodes.failed };
}

/** Where a name has several addresses, each has an error of its own, and the one around them says nothing. */
function messageOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(messageOf).join("; ");
  return error instanceof Error ? error.message : "";
}
