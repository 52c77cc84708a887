import { CarillonError, ManyErrors } from "../errors.ts";
import { contendedMax, DeviceContended } from "./devices.ts";
import type { Executor } from "./executor.ts";
import { ZoneChanged } from "./own-zone.ts";
import type { Merged, Numbered, Refused } from "./staging.ts";
import { type SubscribeOptions, subscribeMany } from "./subscribe.ts";
import type { SubscriptionRequest } from "./subscription-request.ts";

export type SubscriptionRow = Omit<SubscriptionRequest, "pointer">;

/**
 * Subscribes as HTTP does, by the same statements; only that whoever made a mistake is refused and the others are taken.
 * Those statements take arrays, which is quick enough for a file: 100,000 lines in 3 to 6 s on two cores.
 */
export async function mergeSubscriptions(
  client: Executor,
  rows: readonly Numbered<SubscriptionRow>[],
  options: Pick<SubscribeOptions, "planHorizonMs" | "addressRule">,
): Promise<Merged> {
  const refused: Refused[] = [];
  let sound = rows;
  let contended = 0;
  for (;;) {
    const requests = sound.map(({ line, row }) => ({ ...row, pointer: `/${line}` }));
    await client.query("savepoint whole_batch");
    try {
      const counts = await subscribeMany(client, requests, options);
      return { ...counts, refused };
    } catch (error) {
      if (error instanceof DeviceContended) contended += 1;
      const again = error instanceof ZoneChanged || (error instanceof DeviceContended && contended < contendedMax);
      const mistakes = again ? [] : byLine(error);
      if (mistakes === null) throw error;
      // what was found only when storing (a user with too many endpoints) has left rows behind
      await client.query("rollback to savepoint whole_batch");
      refused.push(...mistakes);
      const lines = new Set(mistakes.map(({ line }) => line));
      sound = sound.filter(({ line }) => !lines.has(line));
    }
  }
}

const linePointer = /^\/(\d+)(\/.*)?$/;

/** Whose mistakes they are, with pointers that begin at the line; null where an error is not about any line. */
function byLine(error: unknown): Refused[] | null {
  if (!(error instanceof CarillonError)) return null;
  const lines = new Map<number, CarillonError[]>();
  for (const each of error instanceof ManyErrors ? error.errors : [error]) {
    const [, line, pointer = ""] = linePointer.exec(each.pointer ?? "") ?? [];
    if (line === undefined) return null;
    const mistakes = lines.get(Number(line)) ?? [];
    mistakes.push(new CarillonError(each.code, each.message, { pointer }));
    lines.set(Number(line), mistakes);
  }
  return [...lines].flatMap(([line, [first, ...others]]) => {
    if (first === undefined) return [];
    return [{ line, error: others.length === 0 ? first : new ManyErrors([first, ...others]) }];
  });
}
