import { createECDH, createPrivateKey, type KeyObject, timingSafeEqual } from "node:crypto";
import { CarillonError } from "../errors.ts";

/*
 * The private keys that push services know us by, checked when they are saved: a key that can't sign is better refused to
 * the admin who pastes it than found out about at the moment. What is refused is said without a word of the key.
 */

const curve = "prime256v1";
const rsaBitsMin = 2_048;
const publicKeyBytes = 65;
const privateKeyBytes = 32;

/**
 * The private key of a Google service account.
 *
 * @param pem as `private_key` in the JSON file has it
 * @param pointer to the field, for the error
 * @returns the key in PKCS #8, PEM
 * @throws bad_credentials
 */
export function checkRsaKey(pem: string, pointer: string): string {
  const key = privateKeyIn(pem, pointer);
  if (key.asymmetricKeyType !== "rsa") throw refused("The key must be an RSA key", pointer);
  if ((key.asymmetricKeyDetails?.modulusLength ?? 0) < rsaBitsMin) {
    throw refused(`The key must have ${rsaBitsMin} bits at least`, pointer);
  }
  return pkcs8Of(key);
}

/**
 * The key that Apple gives a team as a .p8 file.
 *
 * @param pem the file's text
 * @param pointer to the field, for the error
 * @returns the key in PKCS #8, PEM
 * @throws bad_credentials
 */
export function checkP256Key(pem: string, pointer: string): string {
  const key = privateKeyIn(pem, pointer);
  if (key.asymmetricKeyType !== "ec" || key.asymmetricKeyDetails?.namedCurve !== curve) {
    throw refused("The key must be an EC key on the curve P-256", pointer);
  }
  return pkcs8Of(key);
}

/** The keys of a VAPID identity (RFC 8292), both in base64url without padding: 65 and 32 bytes. */
export interface VapidPair {
  readonly publicKey: string;
  readonly privateKey: string;
}

/**
 * Whether the two are a pair. Browsers' subscriptions are bound to the public key; with another's private key each of
 * them would be refused.
 *
 * @throws bad_credentials, which points to `/publicKey` or `/privateKey`
 */
export function checkVapidPair({ publicKey, privateKey }: VapidPair): VapidPair {
  const point = base64url(publicKey, publicKeyBytes);
  if (point?.[0] !== 0x04) {
    throw refused("The public key must be the base64url of 65 bytes that begin with 04", "/publicKey");
  }
  const scalar = base64url(privateKey, privateKeyBytes);
  if (scalar === null) throw refused("The private key must be the base64url of 32 bytes", "/privateKey");
  const own = createECDH(curve);
  try {
    own.setPrivateKey(scalar);
  } catch {
    throw refused("The private key is none on the curve P-256", "/privateKey");
  }
  if (!timingSafeEqual(own.getPublicKey(), point)) {
    throw refused("The public key is not the private key's", "/publicKey");
  }
  return { publicKey, privateKey };
}

/** A fresh VAPID identity. */
export function newVapidPair(): VapidPair {
  const pair = createECDH(curve);
  const publicKey = pair.generateKeys("base64url");
  // Node leaves out leading zeros
  const scalar = Buffer.alloc(privateKeyBytes);
  const bytes = pair.getPrivateKey();
  bytes.copy(scalar, privateKeyBytes - bytes.length);
  return { publicKey, privateKey: scalar.toString("base64url") };
}

function privateKeyIn(pem: string, pointer: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    // OpenSSL's own words may quote what was given
    throw refused("The key must be a private key in PEM, without a password", pointer);
  }
}

function pkcs8Of(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}

/** null: it isn't so many bytes, or not written as base64url writes them */
function base64url(text: string, bytes: number): Buffer | null {
  const decoded = Buffer.from(text, "base64url");
  return decoded.length === bytes && decoded.toString("base64url") === text ? decoded : null;
}

function refused(detail: string, pointer: string): CarillonError {
  return new CarillonError("bad_credentials", detail, { pointer });
}
