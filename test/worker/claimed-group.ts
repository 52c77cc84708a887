import type { ClaimedGroup } from "../../src/store/claim.ts";

/** A claimed group that is in no database, for parts that only look at it. */
export function claimedGroup(changed: Partial<ClaimedGroup> = {}): ClaimedGroup {
  return {
    bucketId: "7",
    groupNumber: 3,
    epoch: 1,
    claimToken: "6b1f8c4e-6f0f-4a39-9a3e-0a8f4a2f8f10",
    dueDay: "2026-03-10",
    dueAtMs: Date.parse("2026-03-10T12:00:00Z"),
    expiresAtMs: Date.parse("2026-03-10T12:10:00Z"),
    scheduleId: "5",
    occurrence: "once",
    nextChunk: 0,
    pagedThrough: false,
    takeovers: 0,
    cancelled: false,
    paused: false,
    dense: false,
    smallPopulation: null,
    topic: { ...plainTopic, topicId: 1, name: "live", deliveryMode: "at_least_once", reach: "all" },
    ...changed,
  };
}

/** What is not said of a topic. */
const plainTopic = {
  version: 1,
  title: "",
  body: "",
  data: null,
  image: null,
  sound: null,
  link: null,
  locale: "en",
  variants: null,
  priority: "high",
} as const;
