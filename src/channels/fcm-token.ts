import { type CryptoKey, importPKCS8, SignJWT } from "jose";
import type { buildConnector } from "undici";
import { type Monotonic, monotonicMs } from "../clock.ts";
import { CarillonError } from "../errors.ts";
import type { Authorised } from "./authorised-sending.ts";
import type { FcmDestination } from "./channel.ts";
import { checkUrl, type EgressPolicy } from "./egress-guard.ts";
import { type Ending, Lane, type Reply } from "./lane.ts";

/** All that a sender of messages needs (developers.google.com/identity/protocols/oauth2/scopes). */
const scope = "https://www.googleapis.com/auth/firebase.messaging";
/** RFC 7523, 2.1 */
const grantType = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/** "Using OAuth 2.0 for Server to Server Applications", Google: an assertion is good for an hour at most. */
const assertionSeconds = 3_600;
/** From so long before its end on, a token is renewed, while it still serves. */
const renewAheadMs = 5 * 60_000;
/** From so long before its end on, it no longer serves: a request that takes it along may be on its way for a while. */
const lastUseMs = 30_000;
/** A refresh ahead that failed is not tried again with every request. */
const retryAheadMs = 10_000;
const timeoutMs = 5_000;
const replyBytesMax = 16_384;

/** An access token; callers hold on to the object, so that they can say which one was refused. */
export interface AccessToken {
  readonly bearer: string;
  readonly endsAtMonotonicMs: number;
  /** after this it is renewed ahead */
  readonly renewAtMonotonicMs: number;
}

export type ServiceAccount = Pick<FcmDestination, "clientEmail" | "privateKey" | "tokenUrl">;

/**
 * The access tokens of one service account (RFC 7523: a signed assertion for a token), shared by all that is sent
 * under it. One is asked for at a time; who comes meanwhile waits for the same.
 *
 * Not by google-auth-library: that asks one fixed URL and dials it by itself, where each connection of ours goes through
 * the guard and tokens come from wherever the destination says.
 */
export class AccessTokens {
  readonly #account: ServiceAccount;
  readonly #lane: Lane;
  readonly #nowMs: () => number;
  readonly #monotonic: Monotonic;
  #key: Promise<CryptoKey> | null = null;
  #latest: AccessToken | null = null;
  #asking: Promise<Authorised<AccessToken>> | null = null;
  #notAheadBeforeMs = 0;

  /**
   * @param connector offers HTTP/1.1
   * @param nowMs epoch milliseconds: Google compares the assertion's time with its own clock
   * @throws hostile_url
   */
  constructor(
    account: ServiceAccount,
    policy: EgressPolicy,
    connector: buildConnector.connector,
    nowMs: () => number = Date.now,
    monotonic: Monotonic = monotonicMs,
  ) {
    this.#account = account;
    this.#lane = new Lane(checkUrl(account.tokenUrl, policy), 1, connector);
    this.#nowMs = nowMs;
    this.#monotonic = monotonic;
  }

  /** A token that Google still takes; never rejects. */
  async current(): Promise<Authorised<AccessToken>> {
    const latest = this.#latest;
    const now = this.#monotonic();
    if (latest === null || now >= latest.endsAtMonotonicMs) return this.#ask();
    if (now >= latest.renewAtMonotonicMs && now >= this.#notAheadBeforeMs) {
      this.#notAheadBeforeMs = now + retryAheadMs;
      void this.#ask();
    }
    return { kind: "token", token: latest };
  }

  /** After a token was refused: the one that has replaced it, or a new one; never rejects. */
  async replacing(refused: AccessToken): Promise<Authorised<AccessToken>> {
    const latest = this.#latest;
    if (latest !== null && latest !== refused) return { kind: "token", token: latest };
    this.#latest = null;
    return this.#ask();
  }

  close(): Promise<void> {
    return this.#lane.close();
  }

  #ask(): Promise<Authorised<AccessToken>> {
    this.#asking ??= this.#askOnce().finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  async #askOnce(): Promise<Authorised<AccessToken>> {
    let assertion: string;
    try {
      assertion = await this.#assertion();
    } catch {
      return refused("auth", "no token can be asked for with the destination's private key");
    }
    const askedAtMs = this.#monotonic();
    const body = Buffer.from(new URLSearchParams({ grant_type: grantType, assertion }).toString());
    const ending = await this.#post(body);
    if (ending.kind !== "answered") return refused(...unanswered(ending));
    if (ending.reply.status !== 200) return refused(...refusal(ending.reply));
    const grant = grantIn(ending.reply.body);
    if (grant === null) return refused("retry", "no access token: the answer holds none");
    const lifetimeMs = grant.expiresInSeconds * 1_000;
    this.#latest = {
      bearer: `Bearer ${grant.accessToken}`,
      // A token that lives shorter than is kept in hand serves for most of its life all the same.
      endsAtMonotonicMs: askedAtMs + Math.max(lifetimeMs - lastUseMs, lifetimeMs * 0.9),
      renewAtMonotonicMs: askedAtMs + Math.max(lifetimeMs - renewAheadMs, lifetimeMs * 0.5),
    };
    return { kind: "token", token: this.#latest };
  }

  async #assertion(): Promise<string> {
    const { clientEmail, privateKey, tokenUrl } = this.#account;
    this.#key ??= importPKCS8(privateKey, "RS256");
    const key = await this.#key;
    const nowSeconds = Math.floor(this.#nowMs() / 1_000);
    return new SignJWT({ scope })
      .setProtectedHeader({ alg: "RS256", typ: "JWT" })
      .setIssuer(clientEmail)
      .setAudience(tokenUrl)
      .setIssuedAt(nowSeconds)
      .setExpirationTime(nowSeconds + assertionSeconds)
      .sign(key);
  }

  #post(body: Buffer): Promise<Ending> {
    return new Promise((resolve) => {
      let given = false;
      this.#lane.post({
        next: () => {
          if (given) return null;
          given = true;
          const headers = ["content-type", "application/x-www-form-urlencoded"];
          const mayBegin = () => true;
          return { headers, body, timeoutMs, replyBytesMax, keepReply: true, mayBegin, ended: resolve };
        },
        giveUp: (ending) => {
          if (!given) resolve(ending);
          given = true;
        },
      });
    });
  }
}

function refused(kind: "retry" | "auth" | "rejected", reason: string): Authorised<AccessToken> {
  return { kind: "refused", outcome: { kind, reason } };
}

/** Whatever became of the request for a token: the messages have certainly not been sent. */
function unanswered(ending: Exclude<Ending, { kind: "answered" }>): ["retry" | "rejected", string] {
  const error = ending.kind === "held_back" ? new Error("held back") : ending.error;
  if (error instanceof CarillonError && error.code === "hostile_url") {
    return ["rejected", "refused by the egress guard: the token URL's host is not at a public address"];
  }
  const code = "code" in error && typeof error.code === "string" ? error.code : error.message;
  return ["retry", `no access token: ${code}`];
}

/** RFC 6749, 5.2: `invalid_grant` and its like are about the account, and stay so until somebody sets it right. */
function refusal({ status, body }: Reply): ["retry" | "auth", string] {
  const { error } = parsed(body);
  const word = typeof error === "string" && /^[a-z_]{1,40}$/.test(error) ? error : `answered ${status}`;
  const isOurs = status >= 400 && status < 500 && status !== 408 && status !== 429;
  return [isOurs ? "auth" : "retry", `no access token: ${word}`];
}

function grantIn(body: Buffer): { readonly accessToken: string; readonly expiresInSeconds: number } | null {
  const { access_token: accessToken, expires_in: expiresIn } = parsed(body);
  if (typeof accessToken !== "string" || !/^[\x21-\x7e]+$/.test(accessToken)) return null;
  const isGiven = typeof expiresIn === "number" && Number.isFinite(expiresIn) && expiresIn > 0;
  return { accessToken, expiresInSeconds: isGiven ? expiresIn : assertionSeconds };
}

function parsed(body: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body.toString("utf8"));
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
