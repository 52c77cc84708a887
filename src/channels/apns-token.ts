import { type CryptoKey, importPKCS8, SignJWT } from "jose";
import { type Monotonic, monotonicMs } from "../clock.ts";

/** Apple asks for a new token at most every 20 and at least every 60 minutes ("Establishing a token-based connection to APNs"). */
export const renewAfterMs = 40 * 60_000;
export const renewAtMostEveryMs = 20 * 60_000;

export interface ApnsCredential {
  readonly teamId: string;
  readonly keyId: string;
  /** the .p8 file's text: EC P-256, PKCS #8 in PEM */
  readonly privateKey: string;
}

/** A signed token; callers hold on to the object, so that they can say which one was refused. */
export interface ProviderToken {
  readonly jwt: string;
  readonly signedAtMs: number;
  readonly signedAtMonotonicMs: number;
}

/**
 * The provider token of one credential (ES256, RFC 7519 and 7518), shared by all that is sent under it: Apple refuses a
 * team that changes its token often (429 TooManyProviderTokenUpdates) as it does one whose token is an hour old. One is
 * signed at a time; who comes meanwhile waits for the same.
 */
export class ProviderTokens {
  readonly #credential: ApnsCredential;
  readonly #nowMs: () => number;
  readonly #monotonic: Monotonic;
  #key: Promise<CryptoKey> | null = null;
  #latest: ProviderToken | null = null;
  #signing: Promise<ProviderToken> | null = null;

  /** @param nowMs epoch milliseconds: Apple compares the token's time with its own clock */
  constructor(credential: ApnsCredential, nowMs: () => number = Date.now, monotonic: Monotonic = monotonicMs) {
    this.#credential = credential;
    this.#nowMs = nowMs;
    this.#monotonic = monotonic;
  }

  /**
   * A token that Apple still takes.
   *
   * @throws what reading the private key throws, where it is none
   */
  async current(): Promise<ProviderToken> {
    const latest = this.#latest;
    return latest !== null && this.#ageMs(latest) < renewAfterMs ? latest : this.#sign();
  }

  /**
   * After Apple called a token expired: the one that has replaced it, or a new one; null where it is too young to be
   * replaced, because a wrong clock, and not its age, must be why.
   */
  async replacing(refused: ProviderToken): Promise<ProviderToken | null> {
    if (this.#signing !== null) return this.#signing;
    const latest = this.#latest;
    if (latest !== null && latest !== refused) return latest;
    return this.#ageMs(refused) < renewAtMostEveryMs ? null : this.#sign();
  }

  /** By whichever clock says more: one stands still while the machine sleeps, the other can be set. */
  #ageMs(token: ProviderToken): number {
    return Math.max(this.#nowMs() - token.signedAtMs, this.#monotonic() - token.signedAtMonotonicMs);
  }

  #sign(): Promise<ProviderToken> {
    this.#signing ??= this.#signOne().finally(() => {
      this.#signing = null;
    });
    return this.#signing;
  }

  async #signOne(): Promise<ProviderToken> {
    const { teamId, keyId, privateKey } = this.#credential;
    this.#key ??= importPKCS8(privateKey, "ES256");
    const key = await this.#key;
    const signedAtMs = this.#nowMs();
    const jwt = await new SignJWT()
      .setProtectedHeader({ alg: "ES256", kid: keyId })
      .setIssuer(teamId)
      .setIssuedAt(Math.floor(signedAtMs / 1_000))
      .sign(key);
    this.#latest = { jwt, signedAtMs, signedAtMonotonicMs: this.#monotonic() };
    return this.#latest;
  }
}
