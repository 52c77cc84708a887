import { createDecipheriv, createECDH, createHmac, type ECDH } from "node:crypto";

/**
 * A browser's side of encrypted push messages (RFC 8291, with RFC 8188's aes128gcm): written from the documents and
 * apart from the sending side, so that each tests the other.
 */
export class PushDecryption {
  readonly #keys: ECDH;
  /** the public key that the subscription shows as p256dh: 65 bytes, uncompressed */
  readonly publicKey: Buffer;

  /** @param privateKey 32 bytes; left out: a fresh one */
  constructor(privateKey?: Buffer) {
    this.#keys = createECDH("prime256v1");
    if (privateKey === undefined) this.#keys.generateKeys();
    else this.#keys.setPrivateKey(privateKey);
    this.publicKey = this.#keys.getPublicKey();
  }

  /**
   * @param authSecret the subscription's `auth`, 16 bytes
   * @returns null for what is no message to this key and secret
   */
  decrypt(body: Buffer, authSecret: Buffer): Buffer | null {
    try {
      return this.#decrypt(body, authSecret);
    } catch {
      return null;
    }
  }

  #decrypt(body: Buffer, authSecret: Buffer): Buffer | null {
    const keyIdLength = body[20];
    if (keyIdLength !== 65) return null;
    const salt = body.subarray(0, 16);
    const recordSize = body.readUInt32BE(16);
    const senderKey = body.subarray(21, 86);
    const record = body.subarray(86);
    // RFC 8291, section 4: one record, and it is the last
    if (recordSize < 18 || record.length > recordSize || record.length < 18) return null;

    const shared = this.#keys.computeSecret(senderKey);
    const keyInfo = Buffer.concat([Buffer.from("WebPush: info\0"), this.publicKey, senderKey]);
    const ikm = expand(hmac(authSecret, shared), keyInfo, 32);
    const key = hmac(salt, ikm);
    const contentKey = expand(key, Buffer.from("Content-Encoding: aes128gcm\0"), 16);
    const nonce = expand(key, Buffer.from("Content-Encoding: nonce\0"), 12);

    const decipher = createDecipheriv("aes-128-gcm", contentKey, nonce);
    decipher.setAuthTag(record.subarray(-16));
    const padded = Buffer.concat([decipher.update(record.subarray(0, -16)), decipher.final()]);
    let end = padded.length - 1;
    while (end >= 0 && padded[end] === 0) end -= 1;
    // 2 ends the last record (RFC 8188, section 2)
    return padded[end] === 2 ? padded.subarray(0, end) : null;
  }
}

function hmac(key: Buffer, ...parts: readonly Buffer[]): Buffer {
  const made = createHmac("sha256", key);
  for (const part of parts) made.update(part);
  return made.digest();
}

/** HKDF's second step (RFC 5869) for lengths of one block. */
function expand(key: Buffer, info: Buffer, length: number): Buffer {
  return hmac(key, info, Buffer.from([1])).subarray(0, length);
}
