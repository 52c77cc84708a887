import { availableParallelism } from "node:os";
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { type PlainMessage, packMessages, unpackBodies } from "./encryption-batch.ts";

/** Batches of one sending that are with the thread at one time: one that is worked on, and one that waits. */
export const batchesAway = 2;
/** Messages of a batch. So few that the sender's own thread soon has work again where this one is behind. */
export const batchMessages = 16;

type Encrypted = readonly (Buffer | null)[];

/**
 * A second core for encrypting, which takes twice as long as all the rest of a message: one thread that does both leaves
 * half of a machine idle while it sends. Whoever sends gives it batches and goes on with other messages itself,
 * so nobody ever waits for it alone; without it everything works, only slower.
 */
export class EncryptionThread {
  readonly #batches = new Map<number, (encrypted: Encrypted | null) => void>();
  #worker: Worker | null = null;
  #isOnline = false;
  #isOver: boolean;
  #count = 0;
  readonly #started = Promise.withResolvers<void>();

  /** @param cores on a single one a second thread is of no use, and none is started */
  constructor(cores: number = availableParallelism()) {
    this.#isOver = cores < 2;
  }

  /** Whether it takes batches now. */
  get isReady(): boolean {
    return this.#isOnline;
  }

  /** Starts it, if it isn't yet. Resolves when it is ready, or never will be; until then its work is done by others. */
  start(): Promise<void> {
    if (this.#isOver) return Promise.resolve();
    this.#worker ??= this.#startWorker();
    return this.#started.promise;
  }

  /**
   * @returns the bodies in the order of the messages, null for one that can't be encrypted; null as a whole where the
   *   thread has ended: then the messages are the caller's again
   */
  encrypt(messages: readonly PlainMessage[]): Promise<Encrypted | null> {
    const worker = this.#worker;
    if (worker === null || !this.#isOnline) return Promise.resolve(null);
    this.#count += 1;
    const batch = this.#count;
    const packed = packMessages(messages);
    return new Promise((resolve) => {
      this.#batches.set(batch, resolve);
      // While it works, the process must not end for having nothing else to wait for.
      worker.ref();
      worker.postMessage({ batch, messages: packed }, [packed.buffer]);
    });
  }

  async close(): Promise<void> {
    this.#isOver = true;
    this.#isOnline = false;
    await this.#worker?.terminate();
    this.#lost();
  }

  #startWorker(): Worker {
    // .ts from the sources, .js once built
    const worker = new Worker(new URL(`./encryption-program${extname(import.meta.url)}`, import.meta.url));
    worker.unref();
    worker.once("online", () => {
      this.#isOnline = !this.#isOver;
      this.#started.resolve();
    });
    worker.on("message", ({ batch, bodies }: { readonly batch: number; readonly bodies: Uint8Array }) =>
      this.#answered(batch, unpackBodies(bodies)),
    );
    worker.once("error", () => this.#lost());
    worker.once("exit", () => this.#lost());
    return worker;
  }

  #answered(batch: number, encrypted: Encrypted | null): void {
    const resolve = this.#batches.get(batch);
    this.#batches.delete(batch);
    if (this.#batches.size === 0) this.#worker?.unref();
    resolve?.(encrypted);
  }

  /** It is not started again: what ended it may well do so again. */
  #lost(): void {
    this.#isOver = true;
    this.#isOnline = false;
    this.#started.resolve();
    for (const batch of [...this.#batches.keys()]) this.#answered(batch, null);
  }
}
