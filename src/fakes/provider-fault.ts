/**
 * What a provider does with a message that it would have accepted:
 * - `accept`: takes it and answers as it does to a good one
 * - `reset`: cuts the connection, and has taken nothing
 * - `reset_after_accept`: takes it, then cuts the connection instead of answering
 * - `withhold`: takes it and never answers
 * - an object: as it says there
 */
export type ProviderFault<Answer extends string = string> =
  | "accept"
  | "reset"
  | "reset_after_accept"
  | "withhold"
  | AnswerFault<Answer>
  | ReplyFault
  | SlowFault
  | StreamFault
  | GoawayFault;

/** One of the provider's documented answers, by the name that its documents give it. */
export interface AnswerFault<Answer extends string = string> {
  readonly answer: Answer;
  /** the header's value: seconds, or a date */
  readonly retryAfter?: string;
  readonly delayMs?: number;
  /** whether it has taken the message on all the same; default: only with a 2xx */
  readonly accepts?: boolean;
}

/** Any answer. */
export interface ReplyFault {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly delayMs?: number;
  readonly accepts?: boolean;
}

/** Accepts, and takes its time to say so. */
export interface SlowFault {
  readonly delayMs: number;
}

/** RST_STREAM with this code (RFC 9113, section 7; 7 is REFUSED_STREAM). Over HTTP/1.1: the connection is cut. */
export interface StreamFault {
  readonly resetStream: number;
  /** default false */
  readonly accepts?: boolean;
}

/** GOAWAY for the connection that the message came on; the streams that it leaves are served, then it is closed. */
export interface GoawayFault {
  readonly goaway: {
    /** default 0, NO_ERROR */
    readonly code?: number;
    /**
     * the last stream that is said to be served: the message's own (default), the one before it, or this id. Streams
     * above it get no answer.
     */
    readonly lastStream?: "this" | "before" | number;
    /** the frame's debug data: APNs puts its JSON there */
    readonly debugData?: string;
  };
}

/** A fault with the messages that it is for, as data: it can be sent to a process. All conditions must hold. */
export interface ScheduledFault<Answer extends string = string> {
  readonly fault: ProviderFault<Answer>;
  /** each nth message (counted from 1) of those for which the other conditions hold */
  readonly nth?: number;
  /** only so many times */
  readonly times?: number;
  /** addresses that begin so */
  readonly addressPrefix?: string;
  /** from this instant on, epoch milliseconds */
  readonly fromMs?: number;
  /** before this instant, epoch milliseconds */
  readonly untilMs?: number;
}

/**
 * @param schedule the first one that is for a message has it
 * @returns what becomes of each message, asked for each in turn
 */
export function scheduledFaults<Answer extends string>(
  schedule: readonly ScheduledFault<Answer>[],
): (address: string, receivedAtMs: number) => ProviderFault<Answer> {
  const counted = schedule.map((scheduled) => ({ scheduled, matched: 0, used: 0 }));
  return (address, receivedAtMs) => {
    for (const entry of counted) {
      const { nth = 1, times = Number.POSITIVE_INFINITY, addressPrefix = "", fromMs, untilMs } = entry.scheduled;
      if (!address.startsWith(addressPrefix)) continue;
      if (fromMs !== undefined && receivedAtMs < fromMs) continue;
      if (untilMs !== undefined && receivedAtMs >= untilMs) continue;
      entry.matched += 1;
      if (entry.matched % nth !== 0 || entry.used >= times) continue;
      entry.used += 1;
      return entry.scheduled.fault;
    }
    return "accept";
  };
}
