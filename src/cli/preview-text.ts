import type { PreviewedMoment, SchedulePreview } from "../planner/preview.ts";
import type { MissingDays } from "../timetable/preview.ts";
import { ruleText } from "./rule-text.ts";
import { printable, tableOf, timeOf } from "./table.ts";

/** A preview for people: a line a moment, and what is odd in words. @param asked how many moments were asked for */
export function previewText(preview: SchedulePreview, asked: number): string {
  const { scheduleId, topic, rule, place, zone, from, tzdata, pausedAt, moments, missing } = preview;
  const parts = [
    `Schedule ${scheduleId} (${printable(topic)}): ${printable(ruleText(rule, place))}\n` +
      `After ${timeOf(from)}, clocks of ${zone}, zone data ${tzdata}`,
    pausedAt === null ? "" : `PAUSED since ${timeOf(pausedAt)}: nothing is sent until it is resumed.`,
    moments.length === 0
      ? ""
      : tableOf(["due (UTC)", "on the wall", "given by", "planned", "note"], moments.map(row)).trimEnd(),
    moments.length < asked ? `No ${moments.length === 0 ? "" : "further "}moment comes within 400 days.` : "",
    missing.length === 0 ? "" : ["Without a moment:", ...missing.map(missingText)].join("\n"),
  ];
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

function row({ dueAt, local, gaveIt, planned, notes }: PreviewedMoment): readonly unknown[] {
  return [dueAt, local, sourceText(gaveIt), plannedText(dueAt, planned), notes.map(({ text }) => text).join("; ")];
}

function sourceText(gaveIt: PreviewedMoment["gaveIt"]): string {
  if (gaveIt === null) return "the rule";
  const since = gaveIt.effectiveFrom === null ? "" : ` from ${gaveIt.effectiveFrom}`;
  return `${gaveIt.slot} of ${gaveIt.date} (${gaveIt.timetable}, version ${gaveIt.version}${since})`;
}

function plannedText(dueAt: Date, planned: PreviewedMoment["planned"]): string {
  if (planned === null) return "not yet";
  const elsewhere = planned.dueAt.getTime() === dueAt.getTime() ? "" : `, for ${timeOf(planned.dueAt)}`;
  return `bucket ${planned.bucketId}: ${planned.state}${elsewhere}`;
}

/** "2026-12-01 to 2026-12-20: the sun does not rise" */
export function missingText({ first, last, text }: MissingDays): string {
  return `  ${first === last ? first : `${first} to ${last}`}: ${printable(text)}`;
}
