import { once } from "node:events";
import { connect, type TLSSocket } from "node:tls";

/*
 * A client that knows just enough of HTTP/2 (RFC 9113) to send one request over and over and to count the answers: frames
 * are made once and only their stream's number is put in. It costs a tenth of what node:http2 does, so that the server,
 * and not the client, is what is measured. It reads nothing of an answer but where it ends.
 */

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
const headerBytes = 9;
const type = { data: 0, headers: 1, settings: 4, ping: 6, goAway: 7, windowUpdate: 8 } as const;
const flag = { endStream: 1, ack: 1, endHeaders: 4 } as const;
const windowBytes = 2 ** 31 - 1;
const initialWindowBytes = 65_535;

/** Sends `count` requests over one connection, `streams` at one time once the first is answered. */
export class RawConnection {
  readonly #socket: TLSSocket;
  readonly #request: Buffer;
  readonly #bodyAt: number;
  #rest: Buffer = Buffer.alloc(0);
  #stream = 1;
  #toSend = 0;
  #unanswered = 0;
  #done = Promise.withResolvers<void>();
  /** bytes of DATA that the server still takes: it widens this as it reads */
  #window = initialWindowBytes;

  private constructor(socket: TLSSocket, headers: readonly string[], body: Buffer) {
    this.#socket = socket;
    const head = frame(type.headers, flag.endHeaders, 0, literals(headers));
    this.#bodyAt = head.length;
    this.#request = Buffer.concat([head, frame(type.data, flag.endStream, 0, body)]);
    socket.on("data", (bytes: Buffer) => this.#read(bytes));
    socket.on("close", () => this.#done.reject(new Error("the connection was closed")));
    socket.on("error", (error) => this.#done.reject(error));
    this.#done.promise.catch(() => undefined);
  }

  static async open(url: string, ca: string, headers: readonly string[], body: Buffer): Promise<RawConnection> {
    const { hostname, port } = new URL(url);
    const socket = connect({ host: hostname, port: Number(port), ca, ALPNProtocols: ["h2"] });
    await once(socket, "secureConnect");
    const connection = new RawConnection(socket, headers, body);
    const settings = Buffer.alloc(6);
    settings.writeUInt16BE(4, 0);
    settings.writeUInt32BE(windowBytes, 2);
    const increment = Buffer.alloc(4);
    increment.writeUInt32BE(windowBytes - initialWindowBytes);
    socket.write(
      Buffer.concat([preface, frame(type.settings, 0, 0, settings), frame(type.windowUpdate, 0, 0, increment)]),
    );
    // APNs allows one stream until it has seen a good token.
    await connection.send(1, 1);
    return connection;
  }

  async send(count: number, streams: number): Promise<void> {
    this.#done = Promise.withResolvers();
    this.#done.promise.catch(() => undefined);
    this.#toSend = count;
    this.#unanswered = count;
    this.#write(Math.min(streams, count));
    await this.#done.promise;
  }

  close(): void {
    this.#socket.destroy();
  }

  #write(count: number): void {
    const { length } = this.#request;
    const most = Math.floor(this.#window / (length - this.#bodyAt));
    const requests = Math.min(count, this.#toSend, most);
    if (requests === 0) {
      if (count > 0 && this.#toSend > 0) this.#done.reject(new Error("the server's window is used up"));
      return;
    }
    const bytes = Buffer.allocUnsafe(requests * length);
    for (let at = 0; at < bytes.length; at += length) {
      this.#request.copy(bytes, at);
      bytes.writeUInt32BE(this.#stream, at + 5);
      bytes.writeUInt32BE(this.#stream, at + this.#bodyAt + 5);
      this.#stream += 2;
    }
    this.#toSend -= requests;
    this.#window -= requests * (length - this.#bodyAt);
    this.#socket.write(bytes);
  }

  #read(bytes: Buffer): void {
    const all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    let at = 0;
    let answered = 0;
    while (all.length - at >= headerBytes) {
      const end = at + headerBytes + all.readUIntBE(at, 3);
      if (end > all.length) break;
      answered += this.#frame(all.subarray(at, end));
      at = end;
    }
    this.#rest = all.subarray(at);
    this.#unanswered -= answered;
    if (this.#unanswered === 0) this.#done.resolve();
    else if (answered > 0) this.#write(answered);
  }

  /** @returns 1 where it ends an answer */
  #frame(bytes: Buffer): 0 | 1 {
    const [kind = 0, flags = 0] = bytes.subarray(3, 5);
    const isEnd = (kind === type.data || kind === type.headers) && (flags & flag.endStream) !== 0;
    if (isEnd) return 1;
    const isAsking = (flags & flag.ack) === 0;
    if (kind === type.settings && isAsking) this.#socket.write(frame(type.settings, flag.ack, 0, Buffer.alloc(0)));
    else if (kind === type.ping && isAsking)
      this.#socket.write(frame(type.ping, flag.ack, 0, bytes.subarray(headerBytes)));
    else if (kind === type.windowUpdate && bytes.readUInt32BE(5) === 0) this.#window += bytes.readUInt32BE(headerBytes);
    else if (kind === type.goAway) this.#done.reject(new Error("the server goes away"));
    return 0;
  }
}

function frame(kind: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(headerBytes);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(kind, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** RFC 7541, 6.2.2: literals without indexing, names and values as they are. */
function literals(headers: readonly string[]): Buffer {
  const strings = headers.map((text) => Buffer.concat([integer(text.length), Buffer.from(text, "latin1")]));
  return Buffer.concat(strings.flatMap((text, at) => (at % 2 === 0 ? [Buffer.of(0), text] : [text])));
}

/** RFC 7541, 5.1, with a prefix of 7 bits: no Huffman code. */
function integer(value: number): Buffer {
  if (value < 127) return Buffer.of(value);
  const bytes = [127];
  let rest = value - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}
