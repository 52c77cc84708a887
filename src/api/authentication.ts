import type { Request, RequestHandler, Response } from "express";
import { CarillonError } from "../errors.ts";
import { findKey, type Scope } from "../store/api-keys.ts";
import type { Database } from "../store/database.ts";

/**
 * Asks for `Authorization: Bearer ck_...` (RFC 6750) and remembers what the key may do.
 *
 * @throws (to the next handler) unauthenticated
 */
export function withKeys(db: Database): RequestHandler {
  return async (request, response, next) => {
    const [, token] = /^Bearer +(\S{1,200})$/i.exec(request.headers.authorization ?? "") ?? [];
    const key = token === undefined ? null : await findKey(db, token);
    if (key === null) throw new CarillonError("unauthenticated", "Send Authorization: Bearer and a key that is valid.");
    response.locals.scopes = key.scopes;
    response.locals.keyId = key.keyId;
    next();
  };
}

/**
 * Development: no key, but only from this machine, and not by way of a web page. A page of another site can make a
 * browser send requests here; its `Origin` gives it away, and a name that was made to resolve here (DNS rebinding)
 * gives itself away in `Host`.
 *
 * @throws (to the next handler) forbidden_origin
 */
export function withoutKeys(): RequestHandler {
  return (request, response, next) => {
    const host = request.headers.host?.toLowerCase() ?? "";
    if (!isLoopbackPeer(request))
      throw new CarillonError("forbidden_origin", "Only this machine may call without a key.");
    if (!loopbackHosts(request).includes(host)) {
      throw new CarillonError("forbidden_origin", "The Host header must be this machine's loopback name and port.");
    }
    const { origin } = request.headers;
    if (origin !== undefined && origin.toLowerCase() !== `http://${host}`) {
      throw new CarillonError("forbidden_origin", "Requests from other origins are refused.");
    }
    response.locals.scopes = ["admin"];
    next();
  };
}

/** @throws forbidden when the key that came with the request doesn't reach so far */
export function assertScope(response: Response, scope: Scope): void {
  const held: unknown = response.locals.scopes;
  const scopes: readonly unknown[] = Array.isArray(held) ? held : [];
  if (scopes.includes("admin") || scopes.includes(scope)) return;
  throw new CarillonError("forbidden", `This call needs a key with the scope ${scope}.`);
}

function loopbackHosts(request: Request): string[] {
  const port = request.socket.localPort;
  const names = ["localhost", "127.0.0.1", "[::1]"];
  return [...names.map((name) => `${name}:${port}`), ...(port === 80 ? names : [])];
}

function isLoopbackPeer(request: Request): boolean {
  const address = request.socket.remoteAddress?.replace(/^::ffff:/, "") ?? "";
  return address === "::1" || address.startsWith("127.");
}
