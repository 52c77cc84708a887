import type { RehearsedBucket, RehearsedPlan } from "../planner/rehearse.ts";
import { ruleText } from "./rule-text.ts";
import { printable, tableOf, timeOf } from "./table.ts";

const rowsMax = 200;

/** A rehearsed plan for people: a line a time bucket, and what it comes to. */
export function planText({ at, through, liveNodes, schedules, buckets, faults }: RehearsedPlan): string {
  const people = sumOf(buckets, ({ population }) => population);
  const groups = sumOf(buckets, (bucket) => bucket.groups);
  const columns = ["due (UTC)", "topic", "schedule", "what", "bucket", "people", "groups"];
  const parts = [
    `At ${timeOf(at)}, up to ${timeOf(through)}, with ${liveNodes} live ${liveNodes === 1 ? "worker" : "workers"}:`,
    buckets.length === 0 ? "" : tableOf(columns, buckets.slice(0, rowsMax).map(row)).trimEnd(),
    buckets.length > rowsMax ? `... and ${buckets.length - rowsMax} more; --json has them all.` : "",
    faults.map(({ scheduleId, text }) => `Schedule ${scheduleId} can't be planned: ${printable(text)}`).join("\n"),
    `Schedules to plan: ${schedules}. Moments: ${buckets.length}, people: ${people}, groups: ${groups}. Nothing was changed.`,
  ];
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

function row(bucket: RehearsedBucket): readonly unknown[] {
  const { dueAt, topic, scheduleId, rule, place, population, groups } = bucket;
  return [dueAt, topic, scheduleId, ruleText(rule, place), bucketText(bucket), population, groups];
}

function bucketText({ change, bucketId, paused }: RehearsedBucket): string {
  const words = {
    stands: `${bucketId}`,
    moves: `${bucketId}, moves here`,
    dropped: `${bucketId}, no longer comes`,
    new: "new",
    skipped: "missed, skipped",
  } as const;
  return paused ? `${words[change]}, paused` : words[change];
}

function sumOf(buckets: readonly RehearsedBucket[], of: (bucket: RehearsedBucket) => number): number {
  return buckets.reduce((sum, bucket) => sum + of(bucket), 0);
}
