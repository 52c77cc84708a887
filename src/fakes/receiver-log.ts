import { closeSync, createReadStream, fsyncSync, openSync, write, writeSync } from "node:fs";
import { createInterface } from "node:readline";

/** One reminder that reached a receiver, whatever it was answered. */
export interface ReceivedReminder {
  /** the delivery id: what a receiver dedupes by */
  readonly id: string;
  readonly user: string;
  readonly bucket: string;
  readonly group: number;
  /** the node that sent it */
  readonly node: string;
  readonly attempt: number;
  readonly webhookId: string;
  /** wall clock of the receiver, epoch milliseconds with a fraction */
  readonly receivedAtMs: number;
  readonly dueAtMs: number;
  /** the status of the reply; false where none is given */
  readonly replied: number | false;
  /** which provider; left out by the webhook receiver */
  readonly channel?: ProviderChannel;
  /** whether the provider took the message on, and a device will show it, whatever it replied */
  readonly accepted?: boolean;
}

export type ProviderChannel = "fcm" | "apns" | "web-push";

const flushEveryMs = 50;
const flushAtChars = 1 << 18;

/** An append-only log of reminders, one JSON object a line. Lines are written out within 50 ms. */
export class ReceiverLog implements Disposable {
  readonly #file: number;
  readonly #timer: NodeJS.Timeout;
  #pending = "";
  #writing = false;
  #failure: Error | null = null;

  constructor(path: string) {
    this.#file = openSync(path, "a");
    this.#timer = setInterval(() => this.#flush(), flushEveryMs);
    this.#timer.unref();
  }

  append(reminder: ReceivedReminder): void {
    if (this.#failure !== null) throw this.#failure;
    this.#pending += `${JSON.stringify(reminder)}\n`;
    if (this.#pending.length >= flushAtChars) this.#flush();
  }

  /** Writes what is left and closes the file. A write that is still under way is finished first. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    while (this.#writing) await new Promise((resolve) => setImmediate(resolve));
    this[Symbol.dispose]();
  }

  /** For a sudden end, where nothing can be awaited. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    const rest = Buffer.from(this.#pending);
    this.#pending = "";
    for (let at = 0; at < rest.length; ) at += writeSync(this.#file, rest, at);
    fsyncSync(this.#file);
    closeSync(this.#file);
  }

  #flush(): void {
    if (this.#writing || this.#pending === "") return;
    const lines = Buffer.from(this.#pending);
    this.#pending = "";
    this.#writing = true;
    this.#write(lines, 0);
  }

  #write(lines: Buffer, from: number): void {
    write(this.#file, lines, from, lines.length - from, null, (error, written) => {
      if (error === null && from + written < lines.length) return this.#write(lines, from + written);
      this.#failure = error;
      this.#writing = false;
    });
  }
}

/**
 * Reads a log back, in the order in which the reminders came in. A last line without its end, left by a receiver that
 * was killed while it wrote, is passed over.
 */
export async function* readReceiverLog(path: string): AsyncGenerator<ReceivedReminder, void, undefined> {
  const lines = createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY });
  let previous: string | null = null;
  for await (const line of lines) {
    if (previous !== null) yield parseLine(previous);
    previous = line;
  }
  if (previous?.endsWith("}")) yield parseLine(previous);
}

function parseLine(line: string): ReceivedReminder {
  const parsed: unknown = JSON.parse(line);
  if (!isReceivedReminder(parsed)) throw new Error(`Not a line of a receiver's log: ${line.slice(0, 200)}`);
  return parsed;
}

function isReceivedReminder(value: unknown): value is ReceivedReminder {
  return (
    typeof value === "object" &&
    value !== null &&
    "id" in value &&
    typeof value.id === "string" &&
    "receivedAtMs" in value &&
    typeof value.receivedAtMs === "number" &&
    "replied" in value &&
    (typeof value.replied === "number" || value.replied === false)
  );
}
