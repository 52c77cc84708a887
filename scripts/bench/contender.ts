/** Those that are measured. Each runs in a process of its own, on a database of its own, with the same users. */
export const contenderNames = ["carillon", "graphile-worker", "cron-loop"] as const;
export type ContenderName = (typeof contenderNames)[number];

export function isContenderName(name: string): name is ContenderName {
  return contenderNames.some((known) => known === name);
}

/** What a contender's process is told at its start. */
export interface ContenderConfig {
  readonly name: ContenderName;
  readonly databaseUrl: string;
  /** Carillon: deliveries under way at most */
  readonly window: number;
  /** graphile-worker: jobs at once; the cron loop: connections */
  readonly concurrency: number;
  /** graphile-worker: its task logs its user in a table; else the completion of its job is all the record there is */
  readonly logsUsers: boolean;
}

/** What is due. The users are those of user number 1 to `users`: subscribed to the schedule, with one endpoint each. */
export interface Moment {
  readonly scheduleId: number;
  readonly users: number;
  /** epoch milliseconds, a whole second */
  readonly dueAtMs: number;
}

/** Times are epoch milliseconds of this machine, with fractions. */
export interface Finish {
  /** the first reminder was handed to the (empty) send */
  readonly firstSendAtMs: number;
  /** the last durable record was seen to be there */
  readonly recordedAtMs: number;
}

export interface Audit {
  /** users of whom a durable record says that they were reminded of the moment */
  readonly recorded: number;
  /** on disk, indexes included, of all moments; null where no record is kept */
  readonly ledgerBytes: number | null;
}

/** One way to remind all users of a moment, and of the next. Sending itself is a no-op: what is measured is all the rest. */
export interface Contender extends AsyncDisposable {
  /** puts in place, durably, what must be there before the instant */
  enqueue(moment: Moment): Promise<void>;
  /** waits for the instant, reminds everybody, and resolves when all of it is durably recorded */
  finish(moment: Moment, signal: AbortSignal): Promise<Finish>;
  audit(moment: Moment): Promise<Audit>;
}

/** Between the bench and a contender's process: one answer to each question. */
export type Question =
  | { readonly kind: "enqueue"; readonly moment: Moment }
  | { readonly kind: "finish"; readonly moment: Moment; readonly limitMs: number }
  | { readonly kind: "audit"; readonly moment: Moment };

export type Answer =
  | { readonly kind: "ready" }
  | { readonly kind: "enqueued" }
  | ({ readonly kind: "finished" } & Finish)
  | ({ readonly kind: "audited" } & Audit)
  | { readonly kind: "failed"; readonly why: string };

/** The wall clock with fractions: all processes of the bench run on one machine and share it with Postgres. */
export function wallMs(): number {
  return performance.timeOrigin + performance.now();
}

/** Counts what is sent of one moment, and tells of the first and of the last. */
export class SendCount {
  readonly #first = Promise.withResolvers<number>();
  readonly #all = Promise.withResolvers<void>();
  readonly #users: number;
  #sent = 0;

  constructor(users: number) {
    this.#users = users;
  }

  get sent(): number {
    return this.#sent;
  }

  add(count: number): void {
    if (count === 0) return;
    if (this.#sent === 0) this.#first.resolve(wallMs());
    this.#sent += count;
    if (this.#sent >= this.#users) this.#all.resolve();
  }

  /**
   * Waits for the last.
   * @returns when the first was sent, epoch milliseconds
   * @throws the signal's reason
   */
  async whenAllSent(signal: AbortSignal): Promise<number> {
    const gaveUp = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
    await Promise.race([this.#all.promise, gaveUp]);
    return this.#first.promise;
  }
}
