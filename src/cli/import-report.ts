import type { Fault } from "../import/record.ts";
import type { ImportKind, ImportState } from "../store/imports.ts";
import { printable } from "./table.ts";

/** What became of an import, over all of its runs; for programs. */
export interface ImportSummary extends Omit<ImportState, "startedAt"> {
  readonly kind: ImportKind;
  readonly source: string;
  readonly sha256: string;
  /** of the file */
  readonly lines: number;
  /** where this run went on */
  readonly resumedBehind: number;
  readonly finished: boolean;
  /** of this run */
  readonly seconds: number;
  readonly linesPerSecond: number;
}

export function summaryText(summary: ImportSummary): string {
  const { kind, source, lines, linesDone, resumedBehind, finished, inserted, changed, bad, zonesSuggested } = summary;
  const behind = resumedBehind === 0 ? "" : `, from line ${whole(resumedBehind + 1)} on`;
  const pace = `${summary.seconds.toFixed(1)} s (${whole(summary.linesPerSecond)} lines/s)`;
  const counts = [
    `${whole(inserted)} new`,
    `${whole(changed)} changed`,
    `${whole(summary.unchanged)} there already`,
    ...(summary.skipped === 0 ? [] : [`${whole(summary.skipped)} passed over`]),
    `${whole(bad)} left out`,
  ];
  const said = [
    finished
      ? `Imported ${kind} from ${source}: ${whole(lines)} lines${behind}, in ${pace}.`
      : `Stopped behind line ${whole(linesDone)} of ${whole(lines)} of ${source}; the same command goes on from there.`,
    `${counts.join(", ")}.`,
  ];
  if (finished && inserted === 0 && changed === 0) said.push("Nothing changed.");
  if (zonesSuggested > 0) said.push(zonesText(zonesSuggested));
  return `${said.join("\n")}\n`;
}

function zonesText(count: number): string {
  return (
    `${whole(count)} zones were not given and are suggested from coordinates. About 2 of 100 cities are suggested a zone ` +
    "with another time than theirs, most of them near a border: check those (zone_source in carillon.places)."
  );
}

/** @param bad how many there are altogether */
export function faultsText(shown: readonly Fault[], bad: number, file: string | undefined): string {
  const lines = shown.map(({ line, code, reason, column, pointer }) => {
    const where = column ?? pointer;
    return `  line ${line}${where === undefined ? "" : `, ${where}`}: ${printable(reason)} (${code})`;
  });
  const more = bad - shown.length;
  if (more > 0) lines.push(`  and ${whole(more)} more${file === undefined ? ": --errors FILE writes all" : ""}`);
  if (file !== undefined) lines.push(`  all are in ${file}`);
  return `Left out:\n${lines.join("\n")}\n`;
}

export function progressText(state: ImportState, lines: number, linesPerSecond: number): string {
  const bad = state.bad === 0 ? "" : `, ${whole(state.bad)} left out`;
  return `${whole(state.linesDone)} of ${whole(lines)} lines, ${whole(linesPerSecond)} lines/s${bad}\n`;
}

function whole(number: number): string {
  return Math.round(number).toLocaleString("en");
}
