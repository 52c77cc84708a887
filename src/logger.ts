import { pino } from "pino";
import { type Monotonic, monotonicMs } from "./clock.ts";

export type Logger = pino.Logger;
export type { DestinationStream } from "pino";

/** What may not be read in a log, wherever it stands up to two levels deep: credentials, and how to reach a person. */
const secretKeys = [
  "secret",
  "secrets",
  "secretKey",
  "sealedSecrets",
  "password",
  "token",
  "apiKey",
  "authorization",
  "cookie",
  "address",
  "addresses",
  "databaseUrl",
  "connectionString",
];

/**
 * A logger that writes JSON lines to stderr: stdout belongs to the output of commands.
 *
 * @param level the least severe level that is written
 * @param name the part of the program that speaks
 * @param destination for tests: where lines go instead
 */
export function createLogger(level: string, name: string, destination?: pino.DestinationStream): Logger {
  return pino(
    {
      level,
      name,
      formatters: { level: (label) => ({ level: label }) },
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths: secretKeys.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]), censor: "[redacted]" },
      serializers: { err: describeError, error: describeError },
    },
    destination ?? pino.destination({ fd: 2, sync: true }),
  );
}

/**
 * What a log says of an error. Postgres' `detail` and `where` quote the values of a row, which may be somebody's
 * address, so what is kept is chosen rather than what is left out.
 */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { code, constraint, table } = error as Error & { code?: unknown; constraint?: unknown; table?: unknown };
  return {
    type: error.name,
    message: error.message,
    ...(code === undefined ? {} : { code }),
    ...(constraint === undefined ? {} : { constraint }),
    ...(table === undefined ? {} : { table }),
    stack: error.stack,
    ...(error.cause === undefined ? {} : { cause: describeError(error.cause) }),
  };
}

/** Logs faults that come in floods. Faults of one key are one kind of fault. */
export interface RateLimitedLogger {
  warn(key: string, fields: Record<string, unknown>, message: string): void;
  error(key: string, fields: Record<string, unknown>, message: string): void;
}

const keysKept = 1000;

/**
 * Faults of one key are logged at most once an interval; the next line that is written counts in `suppressed` those
 * that were held back, so that an outage of minutes is a few lines and none of it is hidden.
 *
 * @param intervalMs the least time between two lines of one key
 */
export function rateLimited(logger: Logger, intervalMs = 1000, now: Monotonic = monotonicMs): RateLimitedLogger {
  const seen = new Map<string, { loggedAtMs: number; suppressed: number }>();

  function log(level: "warn" | "error", key: string, fields: Record<string, unknown>, message: string): void {
    const nowMs = now();
    const last = seen.get(key);
    if (last !== undefined && nowMs - last.loggedAtMs < intervalMs) {
      last.suppressed += 1;
      return;
    }
    const suppressed = last?.suppressed ?? 0;
    // keys are few by design; should one carry an id after all, the oldest go first and memory stays bounded
    seen.delete(key);
    const [oldest] = seen.keys();
    if (seen.size >= keysKept && oldest !== undefined) seen.delete(oldest);
    seen.set(key, { loggedAtMs: nowMs, suppressed: 0 });
    logger[level](suppressed === 0 ? fields : { ...fields, suppressed }, message);
  }

  return {
    warn: (key, fields, message) => log("warn", key, fields, message),
    error: (key, fields, message) => log("error", key, fields, message),
  };
}
