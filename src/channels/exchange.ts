import type { IncomingHttpHeaders } from "node:http";
import type { Client, Dispatcher } from "undici";
import type { Ending, Lane, Parcel, Slot, Source } from "./lane.ts";

/**
 * One request and its reply. undici calls `onRequestStart` right before it writes the first byte, and never for a
 * request whose connection failed: that is the exact line between what was certainly not sent and what may have been.
 */
export class Exchange implements Dispatcher.DispatchHandler {
  readonly source: Source;
  readonly #lane: Lane;
  readonly #slot: Slot;
  readonly #parcel: Parcel;
  readonly #requestsStartedBefore: number;
  #timer: NodeJS.Timeout | undefined;
  #controller: Dispatcher.DispatchController | null = null;
  #over = false;
  #status = 0;
  #retryAfter: string | undefined;
  #date: string | undefined;
  #replyBytes = 0;
  #replyParts: Buffer[] | null = null;
  #cutShort = "broke off";

  constructor(lane: Lane, slot: Slot, source: Source, parcel: Parcel) {
    this.#lane = lane;
    this.#slot = slot;
    this.source = source;
    this.#parcel = parcel;
    this.#requestsStartedBefore = lane.requestsStarted;
  }

  /** Whether it has a connection and no ending yet. */
  get isUnderWay(): boolean {
    return this.#controller !== null && !this.#over;
  }

  begin(client: Client): void {
    this.#timer = setTimeout(() => this.#timeOut(), this.#parcel.timeoutMs);
    const { path = this.#lane.path, headers, body } = this.#parcel;
    client.dispatch({ path, method: "POST", headers, body, idempotent: false }, this);
  }

  /** Gives up: nothing written is unsent, anything else is decided by what has come back. */
  abort(error: Error): void {
    if (this.#controller !== null) {
      this.#controller.abort(error);
    } else {
      this.#end({ kind: "unsent", error });
      this.#lane.abandon(this.#slot);
    }
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (!this.#over && this.#parcel.mayBegin()) {
      this.#controller = controller;
      this.#lane.requestStarted();
    } else {
      this.#end({ kind: "held_back" });
      controller.abort(new Error("held back"));
    }
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (status < 200) return;
    this.#status = status;
    this.#retryAfter = single(headers["retry-after"]);
    this.#date = single(headers.date);
  }

  onResponseData(controller: Dispatcher.DispatchController, part: Buffer): void {
    this.#replyBytes += part.length;
    if (this.#replyBytes > this.#parcel.replyBytesMax) {
      this.#cutShort = `was longer than ${this.#parcel.replyBytesMax} bytes`;
      controller.abort(new Error("reply too long"));
    } else if (this.#parcel.keepReply) {
      this.#replyParts ??= [];
      this.#replyParts.push(part);
    }
  }

  onResponseEnd(): void {
    this.#end(this.#answered(true));
    // In the same turn, so that undici takes the next request up with this connection at once.
    this.#lane.release(this.#slot);
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    if (this.#status > 0) this.#end(this.#answered(false));
    else if (this.#controller !== null) this.#end({ kind: "broken_off", error });
    else this.#endUnconnected(error);
    // undici is in the midst of taking the connection down.
    queueMicrotask(() => this.#lane.release(this.#slot));
  }

  #timeOut(): void {
    const error = new Error("timed out");
    this.#cutShort = "timed out";
    if (this.#controller !== null) {
      this.#controller.abort(error);
    } else {
      this.#endUnconnected(error);
      this.#lane.abandon(this.#slot);
    }
  }

  #endUnconnected(error: Error): void {
    if (this.#over) return;
    const ending: Ending = { kind: "unsent", error };
    this.#end(ending);
    // A reset of an open, unused connection says nothing about whether new ones can be made.
    const resetWhileIdle = "code" in error && error.code === "ECONNRESET";
    if (!resetWhileIdle && this.#lane.requestsStarted === this.#requestsStartedBefore) this.#lane.shareFate(ending);
  }

  #answered(whole: boolean): Ending {
    return {
      kind: "answered",
      reply: {
        status: this.#status,
        retryAfter: this.#retryAfter,
        date: this.#date,
        body: this.#replyParts === null ? nothing : Buffer.concat(this.#replyParts),
        whole,
        cutShort: this.#cutShort,
      },
    };
  }

  #end(ending: Ending): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#parcel.ended(ending);
  }
}

const nothing = Buffer.alloc(0);

function single(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header;
}
