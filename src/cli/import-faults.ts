import { type FileHandle, open, readFile } from "node:fs/promises";
import type { Fault } from "../import/record.ts";
import { codeOf } from "../store/database.ts";
import type { ImportState } from "../store/imports.ts";

const shownMax = 20;

/** The lines that were left out: the first are kept to be shown, and all go into a file where one was named. */
export class FaultReport implements AsyncDisposable {
  readonly #path: string | undefined;
  readonly #shown: Fault[] = [];
  #file: FileHandle | undefined;

  constructor(path: string | undefined) {
    this.#path = path;
  }

  /** the first that this run has met */
  get shown(): readonly Fault[] {
    return this.#shown;
  }

  /**
   * Opens the file. Where an import goes on, what is in it about lines that are committed stays, and what was written
   * about the batch that was lost goes, since that batch comes again.
   *
   * @returns how many faults of earlier runs are not in the file
   */
  async begin({ linesDone, bad }: ImportState): Promise<number> {
    if (this.#path === undefined) return 0;
    const kept = linesDone === 0 ? [] : (await linesOf(this.#path)).filter((line) => numberOf(line) <= linesDone);
    this.#file = await open(this.#path, "w");
    if (kept.length > 0) await this.#file.write(`${kept.join("\n")}\n`);
    return Math.max(0, bad - kept.length);
  }

  async add(faults: readonly Fault[]): Promise<void> {
    this.#shown.push(...faults.slice(0, shownMax - this.#shown.length));
    await this.#file?.write(faults.map((fault) => `${JSON.stringify(fault)}\n`).join(""));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }
}

async function linesOf(path: string): Promise<string[]> {
  try {
    return (await readFile(path, "utf8")).split("\n").filter((line) => line !== "");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw error;
  }
}

/** The line that a report is about; beyond all lines where it is no report, or one that was cut off. */
function numberOf(text: string): number {
  try {
    const fault: unknown = JSON.parse(text);
    if (typeof fault === "object" && fault !== null && "line" in fault && typeof fault.line === "number")
      return fault.line;
  } catch {
    // cut off
  }
  return Number.POSITIVE_INFINITY;
}
