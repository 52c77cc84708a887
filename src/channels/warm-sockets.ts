import type { Socket } from "node:net";
import type { buildConnector } from "undici";

/**
 * Connections opened ahead of the instant. undici connects only when it has a request to write, so they are opened
 * here and handed to it, through its own connector, when it asks for one.
 */
export class WarmSockets {
  readonly #connect: buildConnector.connector;
  readonly #keepMs: number;
  readonly #ready = new Map<Socket, NodeJS.Timeout>();
  #opening = 0;
  #closed = false;

  /** @param keepMs how long an unused one is kept */
  constructor(connect: buildConnector.connector, keepMs: number) {
    this.#connect = connect;
    this.#keepMs = keepMs;
  }

  get count(): number {
    return this.#ready.size + this.#opening;
  }

  /** Gives a ready connection where there is one, else makes one. */
  readonly connector: buildConnector.connector = (options, callback) => {
    const give = () => {
      const socket = this.#take();
      if (socket === null) this.#connect(options, callback);
      else callback(null, socket);
    };
    // Once around the event loop first, so that a close or a parting word that has already arrived is seen: a request
    // written onto such a connection would be in doubt, or take the parting word for its answer.
    if (this.#ready.size === 0) give();
    else setImmediate(() => setImmediate(give));
  };

  /** Resolves when so many more have been tried, or on abort; never rejects. */
  async open(target: buildConnector.Options, count: number, signal: AbortSignal): Promise<void> {
    if (count <= 0 || signal.aborted) return;
    const aborted = Promise.withResolvers<void>();
    const abort = () => aborted.resolve();
    signal.addEventListener("abort", abort, { once: true });
    await Promise.race([
      Promise.all(Array.from({ length: count }, () => this.#openOne(target, signal))),
      aborted.promise,
    ]);
    signal.removeEventListener("abort", abort);
  }

  close(): void {
    this.#closed = true;
    for (const socket of [...this.#ready.keys()]) this.#drop(socket);
  }

  #openOne(target: buildConnector.Options, signal: AbortSignal): Promise<void> {
    this.#opening += 1;
    return new Promise((resolve) => {
      this.#connect(target, (_error, socket) => {
        this.#opening -= 1;
        if (socket !== null && socket !== undefined) {
          if (signal.aborted || this.#closed) socket.destroy();
          else this.#keep(socket);
        }
        resolve();
      });
    });
  }

  #keep(socket: Socket): void {
    const timer = setTimeout(() => this.#drop(socket), this.#keepMs);
    timer.unref();
    socket.unref();
    socket.once("close", this.#forgetClosed);
    this.#ready.set(socket, timer);
  }

  #take(): Socket | null {
    for (const socket of this.#ready.keys()) {
      // Bytes before any request can only be a parting word, such as a 408.
      const usable = !socket.destroyed && socket.readyState === "open" && socket.readableLength === 0;
      if (usable) {
        this.#forget(socket);
        socket.ref();
        return socket;
      }
      this.#drop(socket);
    }
    return null;
  }

  #drop(socket: Socket): void {
    this.#forget(socket);
    socket.destroy();
  }

  #forget(socket: Socket): void {
    clearTimeout(this.#ready.get(socket));
    this.#ready.delete(socket);
    socket.off("close", this.#forgetClosed);
  }

  readonly #forgetClosed = () => {
    for (const socket of [...this.#ready.keys()]) {
      if (socket.destroyed) this.#forget(socket);
    }
  };
}

/** What undici's Client passes to its connector for this origin. */
export function connectTarget(url: URL): buildConnector.Options {
  const hostname = url.hostname.startsWith("[") ? url.hostname.slice(1, -1) : url.hostname;
  return { hostname, host: url.host, protocol: url.protocol, port: url.port };
}
