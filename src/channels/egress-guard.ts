import { lookup } from "node:dns/promises";
import { isIP, type LookupFunction } from "node:net";
import { createSecureContext, getCACertificates, type SecureContext } from "node:tls";
import ipaddr from "ipaddr.js";
import { buildConnector } from "undici";
import { CarillonError } from "../errors.ts";

/**
 * Which addresses we connect to for a URL that came from outside. By default only https on port 443 at global unicast
 * addresses. Link-local addresses (cloud metadata among them), multicast and reserved ranges are never opened.
 */
export interface EgressPolicy {
  /** also this machine, with http and any port: for dev and demo */
  readonly allowLoopback: boolean;
  /** also private networks and this machine, and http and any port everywhere: --allow-private-endpoints */
  readonly allowPrivate?: boolean;
}

/** A name's addresses; injected in tests. */
export type Resolve = (hostname: string) => Promise<readonly ResolvedAddress[]>;
export interface ResolvedAddress {
  readonly address: string;
  readonly family: number;
}

/** How connections speak, once they go where they may. */
export interface ConnectOptions {
  /** offers HTTP/2 first; the socket's `alpnProtocol` tells what the far side chose. Default false */
  readonly http2?: boolean;
  /** certificates in PEM that are trusted beside Node's own */
  readonly ca?: string;
}

const urlLengthMax = 2_048;
/** What the URL parser would strip or rewrite without a word: a URL that needs it was not written in good faith. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const silentlyRewritten = /[\u0000-\u0020\u007f\\]/;
/** `https:host`, `https:/host` and `https:///host` also parse; they are not what anybody means. */
const authorityOf = /^https?:\/\/([^/?#]+)(?:[/?#]|$)/i;
/** Names that resolve inside by convention, whatever DNS says. */
const insideNames = /(?:^|\.)(?:localhost|localdomain|local|internal|intranet|lan|home|corp|home\.arpa)$/;
const privateRanges: ReadonlySet<string> = new Set(["private", "carrierGradeNat", "uniqueLocal"]);

/**
 * Checks a URL that came from outside before it is stored or called. Names are not looked up here: what they resolve
 * to is checked at each connect (`guardedConnector`), because it may change after this call.
 *
 * @param pointer JSON pointer to the field that the URL came in, for the error
 * @returns the parsed URL; IPv4 in octal, hexadecimal or decimal form is then in its dotted form (WHATWG URL)
 * @throws hostile_url
 */
export function checkUrl(url: string, policy: EgressPolicy, pointer?: string): URL {
  const refuse = (why: string): never => {
    throw new CarillonError("hostile_url", why, pointer === undefined ? {} : { pointer });
  };
  if (url.length > urlLengthMax) return refuse(`The URL is longer than ${urlLengthMax} characters`);
  if (silentlyRewritten.test(url)) return refuse("The URL contains white space, control characters or a backslash");
  const authority = authorityOf.exec(url)?.[1];
  if (authority === undefined) return refuse("The URL must begin with https:// and a host");
  if (authority.includes("@")) return refuse("The URL must not carry a user name or password");
  if (!URL.canParse(url)) return refuse("The URL is not well formed");

  const parsed = new URL(url);
  const literal = literalAddress(parsed.hostname);
  if (literal === null) checkName(parsed.hostname, policy, refuse);
  else if (!isAllowedAddress(literal, policy)) return refuse("The URL's address is not a public one");

  const open = policy.allowPrivate === true || (policy.allowLoopback && isLoopbackHost(parsed.hostname));
  if (parsed.protocol !== "https:" && !open) return refuse("The URL must be https");
  if (parsed.port !== "" && !open) return refuse("The URL must use port 443");
  if (parsed.port === "0") return refuse("Port 0 is no port");
  return parsed;
}

/**
 * Whether we may connect to this address: global unicast, and what the policy opens beside it.
 *
 * @param address an IPv4 or IPv6 literal, without brackets
 */
export function isAllowedAddress(address: string, policy: EgressPolicy): boolean {
  if (isIP(address) === 0) return false;
  const parsed = ipaddr.parse(address);
  const range = parsed.range();
  if (range === "loopback") return policy.allowLoopback || policy.allowPrivate === true;
  if (privateRanges.has(range)) return policy.allowPrivate === true;
  // Every kind of embedded IPv4 (mapped, NAT64, 6to4, Teredo) has a range of its own, so none passes as unicast. Of
  // IPv6 only 2000::/3 is given out (IANA); ipaddr.js also calls unicast what is not, such as ::7f00:1.
  return range === "unicast" && (parsed.kind() === "ipv4" || isGivenOut(parsed.toByteArray()));
}

/**
 * An undici connector that connects to allowed addresses only, and to the very addresses that it has checked: there is
 * no second look-up between check and connect that could answer otherwise. undici and Node look up names only, so
 * literals are checked here too. If one of a name's addresses is refused, all are.
 *
 * Its errors: `hostile_url` when refused, else those of DNS, TCP and TLS; all of them before a byte of a request.
 *
 * @param connectTimeoutMs bounds look-up, TCP and TLS together
 */
export function guardedConnector(
  policy: EgressPolicy,
  connectTimeoutMs: number,
  resolve: Resolve = resolveAll,
  { http2 = false, ca }: ConnectOptions = {},
): buildConnector.connector {
  const connect = buildConnector({
    allowH2: http2,
    preferH2: http2,
    ...(ca === undefined ? {} : { secureContext: trusting(ca) }),
    timeout: connectTimeoutMs,
    lookup: guardedLookup(policy, resolve),
    autoSelectFamily: true,
  });
  return (options, callback) => {
    if (isIP(options.hostname) !== 0 && !isAllowedAddress(options.hostname, policy)) {
      callback(refusedAddress(), null);
      return;
    }
    connect(options, callback);
  };
}

/** Made once: reading all of the authorities anew for each connection would take longer than its handshake. */
function trusting(ca: string): SecureContext {
  return createSecureContext({ ca: [...getCACertificates("default"), ca] });
}

function guardedLookup(policy: EgressPolicy, resolve: Resolve): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname).then(
      (addresses) => {
        const first = addresses[0];
        if (first === undefined) {
          callback(Object.assign(new Error("The name has no address"), { code: "ENOTFOUND" }), []);
        } else if (!addresses.every(({ address }) => isAllowedAddress(address, policy))) {
          callback(refusedAddress(), []);
        } else if (options.all === true) {
          callback(null, [...addresses]);
        } else {
          callback(null, first.address, first.family);
        }
      },
      (error: NodeJS.ErrnoException) => callback(error, []),
    );
  };
}

function resolveAll(hostname: string): Promise<readonly ResolvedAddress[]> {
  return lookup(hostname, { all: true });
}

/** The address itself stays unsaid: who set the URL must not learn what inside names resolve to. */
function refusedAddress(): CarillonError {
  return new CarillonError("hostile_url", "The URL's host is not at a public address");
}

function checkName(hostname: string, policy: EgressPolicy, refuse: (why: string) => never): void {
  if (hostname === "" || hostname.endsWith(".")) refuse("The URL's host must not end in a dot");
  if (policy.allowPrivate === true || (policy.allowLoopback && isLoopbackHost(hostname))) return;
  if (!hostname.includes(".") || insideNames.test(hostname)) refuse("The URL's host is not a public name");
}

/**
 * Whether a URL's host is this machine or inside a private network by its very form: a literal address that is not
 * public, or a name that resolves inside by convention. What such a name resolves to is not asked here.
 *
 * @param hostname as `URL.hostname` has it: lower-case, IPv6 in brackets
 */
export function isInsideHost(hostname: string): boolean {
  const literal = literalAddress(hostname);
  if (literal !== null) return !isAllowedAddress(literal, { allowLoopback: false });
  return isLoopbackHost(hostname) || !hostname.includes(".") || insideNames.test(hostname);
}

function isLoopbackHost(hostname: string): boolean {
  const literal = literalAddress(hostname);
  if (literal !== null) return ipaddr.parse(literal).range() === "loopback";
  return hostname === "localhost" || hostname.endsWith(".localhost");
}

function literalAddress(hostname: string): string | null {
  const bare = hostname.startsWith("[") ? hostname.slice(1, -1) : hostname;
  return isIP(bare) === 0 ? null : bare;
}

function isGivenOut(bytes: readonly number[]): boolean {
  return ((bytes[0] ?? 0) & 0xe0) === 0x20;
}
