import type { Outcome, SendRequest } from "./channel.ts";

/** Settles a whole request at once: none of it is sent. */
export function settleAll(request: SendRequest, outcome: Outcome): void {
  const { deliveries } = request;
  if (deliveries.length === 0) return;
  request.settle(
    deliveries.map((_, index) => index),
    deliveries.map(() => outcome),
  );
}
