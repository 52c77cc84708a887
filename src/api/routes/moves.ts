import type { Left, MovedSubscription } from "../../store/moving.ts";
import { shownPlace } from "./schedules.ts";

/** A subscription where its user is now, with what they left for it; `left` is null for what stood there before. */
export function shownMove({ place, left, ...subscription }: MovedSubscription) {
  return { ...subscription, ...shownPlace(place), left: left === null ? null : shownLeft(left) };
}

function shownLeft({ id, rule, place }: Left) {
  return { id, ...shownPlace(place), ...("zone" in rule ? { zone: rule.zone } : {}) };
}
