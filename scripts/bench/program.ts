import { exitCodeOf, exitCodes } from "../../src/cli/exit-code.ts";
import { CarillonError } from "../../src/errors.ts";

export interface BenchProgram<O extends { readonly json: boolean; readonly help: boolean }, R> {
  readonly usage: string;
  readOptions(args: readonly string[]): O;
  measure(options: O): Promise<R>;
  textOf(report: R): string;
}

/** What stands on standard error while it is measured. */
export function progress(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Runs a bench as a program: its report on standard output, exit 1 where a target is missed. */
export async function runProgram<
  O extends { readonly json: boolean; readonly help: boolean },
  R extends { readonly ok: boolean },
>({ usage, readOptions, measure, textOf }: BenchProgram<O, R>): Promise<void> {
  try {
    const options = readOptions(process.argv.slice(2));
    if (options.help) {
      process.stdout.write(usage);
      return;
    }
    const report = await measure(options);
    process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : textOf(report));
    process.exitCode = report.ok ? exitCodes.ok : exitCodes.failed;
  } catch (error) {
    process.stderr.write(
      `${error instanceof CarillonError ? error.message : error instanceof Error ? error.stack : error}\n`,
    );
    process.exitCode = exitCodeOf(error);
  }
}
