import type { PushReceiver } from "./web-push-encryption.ts";

/** A message and whom it is for. */
export interface PlainMessage {
  readonly receiver: PushReceiver;
  readonly plaintext: Buffer;
}

/*
 * Batches travel between threads as one block of memory each, which changes hands without being copied: as objects,
 * a message would cost about as much to hand over as to send. All lengths are of two bytes; none is longer than a push
 * message's 4,096.
 */

const lengthBytes = 2;
const publicKeyBytes = 65;
const authBytes = 16;

/** Public key, auth secret, and the plaintext with its length, one after the other. */
export function packMessages(messages: readonly PlainMessage[]): Uint8Array<ArrayBuffer> {
  const each = publicKeyBytes + authBytes + lengthBytes;
  const packed = blockOf(messages.reduce((sum, { plaintext }) => sum + each + plaintext.length, 0));
  let at = 0;
  for (const { receiver, plaintext } of messages) {
    at += receiver.publicKey.copy(packed, at);
    at += receiver.auth.copy(packed, at);
    at = packed.writeUInt16BE(plaintext.length, at);
    at += plaintext.copy(packed, at);
  }
  return new Uint8Array(packed.buffer);
}

export function unpackMessages(block: Uint8Array): readonly PlainMessage[] {
  const packed = bufferOn(block);
  const messages: PlainMessage[] = [];
  for (let at = 0; at < packed.length; ) {
    const keysEnd = at + publicKeyBytes + authBytes;
    const publicKey = packed.subarray(at, at + publicKeyBytes);
    const auth = packed.subarray(at + publicKeyBytes, keysEnd);
    const end = keysEnd + lengthBytes + packed.readUInt16BE(keysEnd);
    messages.push({ receiver: { publicKey, auth }, plaintext: packed.subarray(keysEnd + lengthBytes, end) });
    at = end;
  }
  return messages;
}

/** Each body with its length; length 0 stands for one that could not be encrypted. */
export function packBodies(bodies: readonly (Buffer | null)[]): Uint8Array<ArrayBuffer> {
  const packed = blockOf(bodies.reduce((sum, body) => sum + lengthBytes + (body?.length ?? 0), 0));
  let at = 0;
  for (const body of bodies) {
    at = packed.writeUInt16BE(body?.length ?? 0, at);
    at += body?.copy(packed, at) ?? 0;
  }
  return new Uint8Array(packed.buffer);
}

export function unpackBodies(block: Uint8Array): readonly (Buffer | null)[] {
  const packed = bufferOn(block);
  const bodies: (Buffer | null)[] = [];
  for (let at = 0; at < packed.length; ) {
    const from = at + lengthBytes;
    at = from + packed.readUInt16BE(at);
    bodies.push(at === from ? null : packed.subarray(from, at));
  }
  return bodies;
}

/** Of its own, and not a part of Node's pool: it is given away. */
function blockOf(bytes: number): Buffer<ArrayBuffer> {
  return Buffer.from(new ArrayBuffer(bytes));
}

function bufferOn({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
