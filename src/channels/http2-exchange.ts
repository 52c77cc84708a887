import { type ClientHttp2Session, type ClientHttp2Stream, constants, type IncomingHttpHeaders } from "node:http2";
import { asError } from "../errors.ts";
import type { Ending, Parcel, Source } from "./lane.ts";

/** What an exchange tells the session that carries it. */
export interface Carrier {
  /** why the session is ending, as soon as it is known */
  readonly endError: Error | null;
  /** some frame came in */
  heard(): void;
  /** a request was not answered in its time: is anybody there? */
  suspect(): void;
  /** the far side answered a request */
  replied(): void;
  /** the exchange's stream is closed on both sides: its place is free */
  freed(exchange: Http2Exchange): void;
}

/** RFC 9113 7, in the order of their numbers. */
const errorNames = [
  "NO_ERROR",
  "PROTOCOL_ERROR",
  "INTERNAL_ERROR",
  "FLOW_CONTROL_ERROR",
  "SETTINGS_TIMEOUT",
  "STREAM_CLOSED",
  "FRAME_SIZE_ERROR",
  "REFUSED_STREAM",
  "CANCEL",
  "COMPRESSION_ERROR",
  "CONNECT_ERROR",
  "ENHANCE_YOUR_CALM",
  "INADEQUATE_SECURITY",
  "HTTP_1_1_REQUIRED",
];

/** An error code's name, as RFC 9113 has it. */
export function errorName(code: number): string {
  return errorNames[code] ?? `code ${code}`;
}

/**
 * One request on a stream of its own, and its reply.
 *
 * The line between what was certainly not sent and what may have been: a request is *unsent* when its stream never got
 * as far as a HEADERS frame, when the far side refused it with REFUSED_STREAM (RFC 9113 8.7: not processed), or when
 * its stream is above the last one of a GOAWAY (6.8). Anything else that ends without a status is *broken off*.
 */
export class Http2Exchange {
  readonly source: Source;
  readonly #carrier: Carrier;
  readonly #parcel: Parcel;
  #stream: ClientHttp2Stream | null = null;
  #timer: NodeJS.Timeout | undefined;
  #over = false;
  #neverFramed = false;
  #resetIsTheirs = true;
  #error: Error | null = null;
  #status = 0;
  #retryAfter: string | undefined;
  #date: string | undefined;
  #replyBytes = 0;
  #replyParts: Buffer[] | null = null;
  #cutShort = "broke off";

  constructor(carrier: Carrier, source: Source, parcel: Parcel) {
    this.#carrier = carrier;
    this.source = source;
    this.#parcel = parcel;
  }

  /**
   * Asks a last time whether it may, and writes the request.
   *
   * @param headers pseudo headers and all, names and values in turn
   * @returns whether it has taken a stream; if not, it has ended
   */
  begin(client: ClientHttp2Session, headers: readonly string[]): boolean {
    if (!this.#parcel.mayBegin()) {
      this.#end({ kind: "held_back" });
      return false;
    }
    try {
      const stream = client.request(headers, { endStream: false });
      this.#listen(stream);
      // Without an id it was given no place on the connection: the session is closed, or its ids are used up.
      if (stream.id === undefined) throw this.#carrier.endError ?? new Error("the session takes no more streams");
      this.#stream = stream;
      this.#timer = setTimeout(() => this.#timeOut(), this.#parcel.timeoutMs);
      stream.end(this.#parcel.body);
      return true;
    } catch (error) {
      this.#end({ kind: "unsent", error: asError(error) });
      return false;
    }
  }

  /** Gives up at once, and resets the stream. */
  abort(error: Error): void {
    this.#giveUp(error, "broke off");
  }

  /**
   * The far side will process no stream above `lastStreamId`.
   *
   * @param sessionEnds whether all other streams end with it too (Node does so when the GOAWAY carries an error), with
   *   the GOAWAY's code for their own, which then says nothing about them
   */
  goneAway(lastStreamId: number, sessionEnds: boolean, error: Error): void {
    const stream = this.#stream;
    if (stream === null) return;
    if ((stream.id ?? 0) > lastStreamId || isIdle(stream)) this.#end({ kind: "unsent", error, heard: true });
    else if (sessionEnds && !stream.closed) this.#resetIsTheirs = false;
  }

  /** The connection is gone, whatever the stream may still say. */
  lost(error: Error): void {
    this.#error ??= error;
    this.#settle();
  }

  #listen(stream: ClientHttp2Stream): void {
    stream.on("response", this.#onResponse);
    stream.on("data", this.#onData);
    stream.on("error", this.#onError);
    stream.on("frameError", this.#onFrameError);
    stream.on("close", this.#onClose);
  }

  readonly #onResponse = (headers: IncomingHttpHeaders) => {
    this.#carrier.replied();
    this.#status = Number(headers[":status"]);
    this.#retryAfter = headers["retry-after"];
    this.#date = headers.date;
  };

  readonly #onData = (part: Buffer) => {
    this.#carrier.heard();
    this.#replyBytes += part.length;
    if (this.#replyBytes > this.#parcel.replyBytesMax) {
      this.#giveUp(new Error("reply too long"), `was longer than ${this.#parcel.replyBytesMax} bytes`);
    } else if (this.#parcel.keepReply) {
      this.#replyParts ??= [];
      this.#replyParts.push(part);
    }
  };

  readonly #onError = (error: Error) => {
    this.#error ??= error;
  };

  readonly #onFrameError = (type: number) => {
    if (type === headersFrame) this.#neverFramed = true;
  };

  readonly #onClose = () => {
    this.#settle();
    if (this.#stream !== null) this.#carrier.freed(this);
    this.#stream = null;
  };

  #settle(): void {
    if (this.#over) return;
    const code = this.#stream?.rstCode ?? 0;
    if (this.#status > 0) {
      this.#end(this.#answered(code === constants.NGHTTP2_NO_ERROR && this.#stream?.readableEnded === true));
    } else if (this.#neverFramed) {
      this.#end({ kind: "unsent", error: this.#reasonFor(code) });
    } else if (code === constants.NGHTTP2_REFUSED_STREAM && this.#resetIsTheirs) {
      this.#end({ kind: "unsent", error: this.#reasonFor(code), heard: true });
    } else {
      this.#end({ kind: "broken_off", error: this.#reasonFor(code) });
    }
  }

  #reasonFor(code: number): Error {
    // Node tells a reset of the stream's own by this error, and names its code in a sentence about itself.
    if (this.#error !== null && isStreamError(this.#error)) return new Error(`stream reset: ${errorName(code)}`);
    return this.#carrier.endError ?? this.#error ?? new Error(`stream closed without an answer: ${errorName(code)}`);
  }

  #timeOut(): void {
    this.#giveUp(new Error("timed out"), "timed out");
    this.#carrier.suspect();
  }

  #giveUp(error: Error, cutShort: string): void {
    if (this.#over) return;
    this.#cutShort = cutShort;
    const stream = this.#stream;
    if (this.#status > 0) this.#end(this.#answered(false));
    else if (stream === null || isIdle(stream)) this.#end({ kind: "unsent", error });
    else this.#end({ kind: "broken_off", error });
    stream?.close(constants.NGHTTP2_CANCEL);
  }

  #answered(whole: boolean): Ending {
    return {
      kind: "answered",
      reply: {
        status: this.#status,
        retryAfter: this.#retryAfter,
        date: this.#date,
        body: joined(this.#replyParts),
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

/** Most replies come in one part. */
function joined(parts: readonly Buffer[] | null): Buffer {
  const [first = nothing] = parts ?? [];
  return parts === null || parts.length < 2 ? first : Buffer.concat(parts);
}

/** RFC 9113 6.2 */
const headersFrame = 1;

/**
 * nghttp2 opens a stream as it writes its HEADERS: an idle one has written nothing. (One that is closed and forgotten
 * reads as idle too; Node has then closed its own.)
 */
function isIdle(stream: ClientHttp2Stream): boolean {
  return !stream.closed && !stream.destroyed && stream.state.state === constants.NGHTTP2_STREAM_STATE_IDLE;
}

function isStreamError(error: Error): boolean {
  return "code" in error && error.code === "ERR_HTTP2_STREAM_ERROR";
}
