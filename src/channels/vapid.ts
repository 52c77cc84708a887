import { createPrivateKey, type KeyObject, sign } from "node:crypto";
import { checkVapidPair, type VapidPair } from "./credentials.ts";

/** RFC 8292, 2 allows 24 h; half of it leaves room for clocks that disagree. */
const lifetimeSeconds = 12 * 3_600;
/** Renewed when less than this is left. */
const renewedAheadSeconds = 3_600;

/** The `Authorization` headers of one identity: a token for each push service, kept until shortly before its end. */
export interface Vapid {
  /**
   * @param origin the push service's, as its endpoints begin: the token's audience
   * @param nowMs epoch milliseconds, real time
   */
  authorization(origin: string, nowMs: number): string;
}

/**
 * An application server's identity towards push services (RFC 8292).
 *
 * @param subject `mailto:` or `https:`, where the push service's operators can reach us
 * @throws bad_credentials where the keys are no pair
 */
export function createVapid(keys: VapidPair, subject: string): Vapid {
  const privateKey = signingKey(checkVapidPair(keys));
  const head = encode({ typ: "JWT", alg: "ES256" });
  const headers = new Map<string, { readonly value: string; readonly endsAtSeconds: number }>();

  return {
    authorization(origin, nowMs) {
      const nowSeconds = Math.floor(nowMs / 1_000);
      const known = headers.get(origin);
      // The second bound is for a clock that was set back: to it, an old token would claim more than 24 h.
      const secondsLeft = known === undefined ? 0 : known.endsAtSeconds - nowSeconds;
      if (known !== undefined && secondsLeft > renewedAheadSeconds && secondsLeft <= lifetimeSeconds)
        return known.value;
      const endsAtSeconds = nowSeconds + lifetimeSeconds;
      const unsigned = `${head}.${encode({ aud: origin, exp: endsAtSeconds, sub: subject })}`;
      const signature = sign("sha256", Buffer.from(unsigned), { key: privateKey, dsaEncoding: "ieee-p1363" });
      const value = `vapid t=${unsigned}.${signature.toString("base64url")}, k=${keys.publicKey}`;
      headers.set(origin, { value, endsAtSeconds });
      return value;
    },
  };
}

function signingKey({ publicKey, privateKey }: VapidPair): KeyObject {
  const point = Buffer.from(publicKey, "base64url");
  const x = point.toString("base64url", 1, 33);
  const y = point.toString("base64url", 33);
  return createPrivateKey({ key: { kty: "EC", crv: "P-256", x, y, d: privateKey }, format: "jwk" });
}

function encode(part: Record<string, unknown>): string {
  return Buffer.from(JSON.stringify(part)).toString("base64url");
}
