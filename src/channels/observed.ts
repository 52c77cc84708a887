import type { OnReply } from "./channel.ts";
import type { Ending } from "./lane.ts";

/** What a parcel's ending is told to: the observer first, where there is one and an answer came. */
export function observed(onReply: OnReply | undefined, ended: (ending: Ending) => void): (ending: Ending) => void {
  if (onReply === undefined) return ended;
  return (ending) => {
    if (ending.kind === "answered") onReply(ending.reply);
    ended(ending);
  };
}
