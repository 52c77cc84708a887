import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { CarillonError } from "../errors.ts";

const version = 1;
const nonceBytes = 12;
const tagBytes = 16;
const keyBytes = 32;

/**
 * Seals a secret for storage: AES-256-GCM (NIST SP 800-38D) with a random nonce. The context is authenticated with it,
 * so that a sealed value copied to another row does not open there.
 *
 * @param secret in the clear
 * @param key 32 bytes, from CARILLON_SECRET_KEY; null when there is none
 * @param context what the secret belongs to, for example the destination's name
 * @returns version, nonce, ciphertext and tag
 * @throws secret_key_missing
 */
export function seal(secret: string, key: Uint8Array | null, context: string): Buffer {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv("aes-256-gcm", usable(key), nonce);
  cipher.setAAD(Buffer.from(context, "utf8"));
  const sealed = Buffer.concat([cipher.update(secret, "utf8"), cipher.final()]);
  return Buffer.concat([Buffer.of(version), nonce, sealed, cipher.getAuthTag()]);
}

/**
 * Opens what `seal` made, under the same key and context.
 *
 * @throws secret_key_missing when there is no key, or when the key (or the context) is another one than it was sealed
 *   under: without the right key nothing can be read
 */
export function unseal(sealed: Uint8Array, key: Uint8Array | null, context: string): string {
  const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
  const opener = usable(key);
  if (bytes[0] !== version || bytes.length < 1 + nonceBytes + tagBytes) {
    throw new CarillonError("internal", `A sealed secret of ${context} has a form that this version does not know.`);
  }
  try {
    const decipher = createDecipheriv("aes-256-gcm", opener, bytes.subarray(1, 1 + nonceBytes));
    decipher.setAAD(Buffer.from(context, "utf8"));
    decipher.setAuthTag(bytes.subarray(bytes.length - tagBytes));
    const opened = decipher.update(bytes.subarray(1 + nonceBytes, bytes.length - tagBytes));
    return Buffer.concat([opened, decipher.final()]).toString("utf8");
  } catch (cause) {
    throw new CarillonError("secret_key_missing", `The secret of ${context} was sealed under another key.`, { cause });
  }
}

function usable(key: Uint8Array | null): Uint8Array {
  if (key === null) throw new CarillonError("secret_key_missing", "CARILLON_SECRET_KEY is not set.");
  if (key.length !== keyBytes) throw new CarillonError("secret_key_missing", "CARILLON_SECRET_KEY must be 32 bytes.");
  return key;
}
