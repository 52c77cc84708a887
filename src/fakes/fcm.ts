import { createPublicKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { type FcmAnswer, fcmAccepted, fcmAnswer, grantGiven, grantRefused } from "./fcm-answers.ts";
import { isReply, readFcmMessage } from "./fcm-message.ts";
import { type CheckedToken, TokenChecker } from "./jwt-check.ts";
import type { Exchange, Reply } from "./provider-exchange.ts";
import {
  type ProviderServer,
  type ProviderServerOptions,
  type Ruling,
  startProviderServer,
  withMembers,
} from "./provider-server.ts";

/** A service account as Google's console hands it out, but for what nobody reads. */
export interface ServiceAccount {
  readonly projectId: string;
  readonly clientEmail: string;
  /** PKCS8 PEM, RSA of 2,048 bits */
  readonly privateKey: string;
}

export interface FcmOptions extends ProviderServerOptions<FcmAnswer> {
  /** default: one with a fresh key */
  readonly serviceAccount?: ServiceAccount;
  /** how long the tokens that it hands out are good for, default 3,600 s as Google's */
  readonly tokenLifetimeSeconds?: number;
  /** asked at each request for a token; null: it is given one, if its assertion holds */
  readonly tokenFault?: () => Reply | null;
}

export interface Fcm extends ProviderServer<FcmAnswer> {
  readonly serviceAccount: ServiceAccount;
  /** where tokens are got, the audience of assertions */
  readonly tokenUrl: string;
  /** tokens handed out so far */
  readonly tokensGiven: number;
  /** from now on all tokens handed out until now are answered 401 UNAUTHENTICATED */
  revokeTokens(): void;
}

const scopes = [
  "https://www.googleapis.com/auth/firebase.messaging",
  "https://www.googleapis.com/auth/cloud-platform",
] as const;
const grantType = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const assertionSecondsMax = 3_600;
/** How far the clock of who signs may be ahead. */
const aheadSecondsMax = 300;

export function createServiceAccount(projectId = "carillon-fake"): ServiceAccount {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2_048 });
  return {
    projectId,
    clientEmail: `sender@${projectId}.iam.gserviceaccount.com`,
    privateKey: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  };
}

/**
 * FCM's HTTP v1 API with Google's token endpoint (`POST /token`) on the same port. Any token of a device is good; which
 * are not is a matter of faults.
 */
export async function startFcm(options: FcmOptions = {}): Promise<Fcm> {
  const { serviceAccount = createServiceAccount(), tokenLifetimeSeconds = 3_600, tokenFault = () => null } = options;
  const publicKey = createPublicKey(serviceAccount.privateKey);
  const assertions = new TokenChecker("RS256");
  const sendPath = `/v1/projects/${serviceAccount.projectId}/messages:send`;
  /** access token -> when it ends, epoch milliseconds */
  const tokens = new Map<string, number>();
  let tokensGiven = 0;
  let messages = 0;
  let tokenUrl = "";

  async function grant({ body, receivedAtMs }: Exchange): Promise<Reply> {
    const fault = tokenFault();
    if (fault !== null) return fault;
    const form = new URLSearchParams(body.toString("utf8"));
    if (form.get("grant_type") !== grantType) {
      return grantRefused("unsupported_grant_type", `Invalid grant_type: ${form.get("grant_type") ?? ""}`);
    }
    const assertion = await assertions.check(form.get("assertion") ?? "", publicKey);
    const wrong = wrongAssertion(assertion, serviceAccount.clientEmail, tokenUrl, receivedAtMs / 1_000);
    if (wrong !== null) return wrong;
    const token = `ya29.c.${randomBytes(24).toString("base64url")}`;
    tokens.set(token, receivedAtMs + tokenLifetimeSeconds * 1_000);
    tokensGiven += 1;
    return grantGiven(token, tokenLifetimeSeconds);
  }

  function isAuthorised({ headers, receivedAtMs }: Exchange): boolean {
    const [scheme, token = ""] = (headers.authorization ?? "").split(" ");
    return scheme?.toLowerCase() === "bearer" && receivedAtMs < (tokens.get(token) ?? 0);
  }

  function receive(exchange: Exchange): Ruling | Promise<Ruling> {
    const { method, path, headers, body, receivedAtMs } = exchange;
    if (method === "POST" && path === "/token") return grant(exchange).then((reply) => ({ kind: "reply", reply }));
    if (!isAuthorised(exchange)) return { kind: "reply", reply: fcmAnswer("UNAUTHENTICATED") };
    if (method !== "POST" || !/^\/v1\/projects\/[^/]+\/messages:send$/.test(path)) {
      return { kind: "reply", reply: { status: 404 } };
    }
    if (path !== sendPath) return { kind: "reply", reply: fcmAnswer("PERMISSION_DENIED") };
    const read = readFcmMessage(body);
    if (isReply(read)) return { kind: "reply", reply: read };
    if (read.validateOnly) {
      return { kind: "reply", reply: fcmAccepted(serviceAccount.projectId, "fake_message_id") };
    }
    messages += 1;
    return {
      kind: "message",
      message: { channel: "fcm", id: read.id, address: read.token, payload: read.message, headers, receivedAtMs },
      reply: fcmAccepted(serviceAccount.projectId, `0:${Math.trunc(receivedAtMs * 1_000)}%${messages.toString(16)}`),
    };
  }

  const protocol = { channel: "fcm", allowHttp1: true, maxConcurrentStreams: 100, receive, answer: fcmAnswer } as const;
  const server = await startProviderServer<FcmAnswer>(protocol, options);
  tokenUrl = `${server.url}/token`;
  return withMembers(server, {
    serviceAccount,
    tokenUrl,
    get tokensGiven() {
      return tokensGiven;
    },
    revokeTokens: () => tokens.clear(),
  });
}

/** @returns what Google says of an assertion that it refuses; null for a good one */
function wrongAssertion(
  assertion: CheckedToken | null,
  clientEmail: string,
  tokenUrl: string,
  nowSeconds: number,
): Reply | null {
  if (assertion === null) return grantRefused("invalid_grant", "Invalid JWT Signature.");
  const { iss, aud, exp, iat, scope } = assertion.claims;
  if (iss !== clientEmail) return grantRefused("invalid_grant", "Invalid grant: account not found");
  if (aud !== tokenUrl) return grantRefused("invalid_grant", "Invalid JWT: Failed audience check.");
  if (
    exp === undefined ||
    iat === undefined ||
    exp <= nowSeconds ||
    exp - iat > assertionSecondsMax ||
    iat > nowSeconds + aheadSecondsMax
  ) {
    return grantRefused(
      "invalid_grant",
      "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.",
    );
  }
  const asked = typeof scope === "string" ? scope.split(" ") : [];
  return scopes.some((known) => asked.includes(known))
    ? null
    : grantRefused("invalid_scope", "Invalid OAuth scope or ID token audience provided.");
}
