import { once } from "node:events";
import { type ClientHttp2Session, connect, type IncomingHttpHeaders, type OutgoingHttpHeaders } from "node:http2";

export interface Answered {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export interface ToSend {
  readonly path: string;
  readonly method?: string;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string | Buffer;
}

/** One HTTP/2 connection, by node:http2 and nothing of Carillon. */
export class Http2Client implements AsyncDisposable {
  readonly session: ClientHttp2Session;
  /** resolves when the connection has ended, however */
  readonly closed: Promise<void>;
  /** the code of the connection's error */
  brokenBy: string | undefined;

  private constructor(session: ClientHttp2Session) {
    this.session = session;
    session.on("error", (error: Error & { readonly code?: string }) => {
      this.brokenBy = error.code;
    });
    this.closed = new Promise((resolve) => session.once("close", () => resolve()));
  }

  /** Resolves when the server's first SETTINGS have come. */
  static async connect(url: string, ca: string): Promise<Http2Client> {
    const session = connect(url, { ca });
    await once(session, "remoteSettings");
    return new Http2Client(session);
  }

  /** Rejects when the stream ends without an answer; the error's `code` or `rstCode` says how. */
  send({ path, method = "POST", headers = {}, body = "" }: ToSend): Promise<Answered> {
    const stream = this.session.request({ ":path": path, ":method": method, ...headers });
    const answered = Promise.withResolvers<Answered>();
    let answer: IncomingHttpHeaders = {};
    const parts: Buffer[] = [];
    stream.on("response", (given) => {
      answer = given;
    });
    stream.on("data", (part: Buffer) => parts.push(part));
    stream.on("error", (error) => answered.reject(Object.assign(error, { rstCode: stream.rstCode })));
    stream.on("close", () => {
      const status = answer[":status"];
      if (status !== undefined) {
        answered.resolve({ status: Number(status), headers: answer, text: Buffer.concat(parts).toString("utf8") });
      } else {
        answered.reject(Object.assign(new Error("closed without an answer"), { rstCode: stream.rstCode }));
      }
    });
    // node ends a GET by itself
    if (!stream.writableEnded) stream.end(body);
    return answered.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.session.destroy();
    await this.closed;
  }
}
