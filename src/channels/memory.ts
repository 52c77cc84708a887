import { accepted, type Channel, type Delivery, type Outcome, type SendRequest } from "./channel.ts";
import { settleAll } from "./settle-all.ts";

export interface MemoryChannelOptions {
  /** what becomes of each delivery; default: all are accepted */
  readonly outcomeOf?: (delivery: Delivery, request: SendRequest) => Outcome | Promise<Outcome>;
  /** called once a `send` with what was "sent", for callers that keep a log; nothing is kept here */
  readonly log?: (deliveries: readonly Delivery[], request: SendRequest) => void;
}

/**
 * Reminders that go nowhere: for tests, and to measure all but the network. By default one call settles everything at
 * once. A programmed outcome may be a promise; one that is still open at the request's timeout or abort is in doubt, as
 * it is on a real channel.
 */
export function createMemoryChannel(options: MemoryChannelOptions = {}): Channel {
  const { outcomeOf, log } = options;
  let closed = false;

  return {
    name: "memory",
    batchSize: () => Number.MAX_SAFE_INTEGER,
    warm: async () => {},

    async send(request) {
      const { deliveries, signal } = request;
      if (deliveries.length === 0) return;
      if (closed) return settleAll(request, { kind: "retry", reason: "not sent: closed" });
      if (signal.aborted) return settleAll(request, { kind: "retry", reason: "not sent: aborted" });
      if (!request.mayBegin()) return settleAll(request, { kind: "retry", reason: "held_back" });
      log?.(deliveries, request);
      if (outcomeOf === undefined) return settleAll(request, accepted);
      await Promise.all(
        deliveries.map(async (delivery, index) => {
          // Asked in here, so that what it throws becomes an outcome too.
          const outcome = (async () => outcomeOf(delivery, request))();
          request.settle([index], [await withinTheRequest(outcome, request)]);
        }),
      );
    },

    async close() {
      closed = true;
    },
  };
}

function withinTheRequest(outcome: Promise<Outcome>, request: SendRequest): Promise<Outcome> {
  return new Promise((resolve) => {
    const end = (result: Outcome) => {
      clearTimeout(timer);
      request.signal.removeEventListener("abort", abort);
      resolve(result);
    };
    const abort = () => end({ kind: "in_doubt", reason: "no reply: aborted" });
    const timer = setTimeout(() => end({ kind: "in_doubt", reason: "no reply: timed out" }), request.timeoutMs);
    request.signal.addEventListener("abort", abort, { once: true });
    outcome.then(end, (error: unknown) => end({ kind: "in_doubt", reason: `no reply: ${String(error)}` }));
  });
}
