import type { KeyObject } from "node:crypto";
import { decodeProtectedHeader, type JWTPayload, jwtVerify } from "jose";

/** What a signed token says, once its signature holds. */
export interface CheckedToken {
  readonly keyId: string | undefined;
  readonly claims: JWTPayload;
}

const rememberedMax = 10_000;

/**
 * Checks tokens, each only once, as providers do: a sender uses one for thousands of requests. Expiry is left to the
 * caller, who must look at it anew with each request.
 */
export class TokenChecker {
  readonly #algorithm: "ES256" | "RS256";
  readonly #checked = new Map<string, CheckedToken | null>();

  constructor(algorithm: "ES256" | "RS256") {
    this.#algorithm = algorithm;
  }

  /** @returns null for one whose signature doesn't hold; a promise only for one that is new */
  check(token: string, key: KeyObject): CheckedToken | null | Promise<CheckedToken | null> {
    const known = this.#checked.get(token);
    return known === undefined ? this.#verify(token, key) : known;
  }

  async #verify(token: string, key: KeyObject): Promise<CheckedToken | null> {
    let checked: CheckedToken | null = null;
    try {
      // Far in the past, so that nothing has expired: the caller tells an expired token from a forged one.
      const { payload } = await jwtVerify(token, key, { algorithms: [this.#algorithm], currentDate: new Date(0) });
      checked = { keyId: decodeProtectedHeader(token).kid, claims: payload };
    } catch {}
    if (this.#checked.size >= rememberedMax) this.#checked.clear();
    this.#checked.set(token, checked);
    return checked;
  }
}
