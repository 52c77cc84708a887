import type { ErrorRequestHandler, Response } from "express";
import { CarillonError, type ErrorCode, errorCatalogue, ManyErrors } from "../errors.ts";
import { type Logger, rateLimited } from "../logger.ts";
import { toCarillonError } from "../store/database.ts";

/** RFC 9457, with the catalogue's code and, where the request is at fault, every field that is. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: ErrorCode;
  readonly requestId: string;
  readonly errors?: readonly ProblemField[];
}

/**
 * `pointer` is an RFC 6901 JSON pointer into the body; `?name` and `:name` stand for the query's and the path's. `line` and
 * `column`, from 1, say where in a template.
 */
export interface ProblemField {
  readonly pointer: string;
  readonly code: ErrorCode;
  readonly detail: string;
  readonly line?: number;
  readonly column?: number;
}

/** Who sends a thousand bad items learns enough from a hundred. */
const fieldsMax = 100;

/**
 * An error as a problem. Of those that are not the caller's fault, nothing is told but the code: their details may
 * quote what isn't the caller's to know.
 */
export function problemOf(error: CarillonError, requestId: string): Problem {
  const { code, status, title } = error;
  const fields = (error instanceof ManyErrors ? error.errors : [error]).flatMap(fieldOf).slice(0, fieldsMax);
  return {
    type: `urn:carillon:error:${code}`,
    title,
    status,
    detail: isTold(code) ? error.message : title,
    code,
    requestId,
    ...(fields.length === 0 ? {} : { errors: fields }),
  };
}

/** Sends a problem; `retry-after` where trying again is what helps. */
export function sendProblem(response: Response, error: CarillonError): void {
  const requestId = String(response.getHeader("x-request-id") ?? "");
  if (error.code === "unauthenticated") response.setHeader("www-authenticate", 'Bearer realm="carillon"');
  if (error.status === 503) response.setHeader("retry-after", "1");
  response.status(error.status);
  response.setHeader("content-type", "application/problem+json");
  response.setHeader("cache-control", "no-store");
  response.send(JSON.stringify(problemOf(error, requestId)));
}

/**
 * What the framework and the body parser throw, in the words of the catalogue; anything else is null.
 */
export function requestFault(error: unknown): CarillonError | null {
  if (!(error instanceof Error) || error instanceof CarillonError) return null;
  const { type, status } = error as Error & { type?: unknown; status?: unknown };
  switch (type) {
    case "entity.parse.failed":
      return new CarillonError("malformed_json", "The body is not valid JSON (RFC 8259), or no object or array.");
    case "entity.too.large":
      return new CarillonError("body_too_large", "The body is larger than 2 MB.");
    case "encoding.unsupported":
    case "charset.unsupported":
      return new CarillonError("unsupported_media_type", "The body must be JSON in UTF-8, plain or gzip.");
  }
  // an undecodable path, a length that doesn't fit, a client that went away: 4xx by whoever found it
  if (typeof status === "number" && status >= 400 && status < 500) {
    return new CarillonError("invalid_request", "The request is not well formed.", { cause: error });
  }
  return null;
}

function fieldOf(error: CarillonError): ProblemField[] {
  if (error.pointer === undefined) return [];
  return [{ pointer: error.pointer, code: error.code, detail: error.message, ...error.position }];
}

/** A missing key is for the operator, who is the one who calls where it is missing. */
function isTold(code: ErrorCode): boolean {
  return errorCatalogue[code].status < 500 || code === "secret_key_missing";
}

/** Answers whatever was thrown as a problem; what is our fault is logged. */
export function answerProblem(logger: Logger): ErrorRequestHandler {
  const faults = rateLimited(logger);
  return (error: unknown, _request, response, next) => {
    const known = requestFault(error) ?? toCarillonError(error);
    if (known.status >= 500) {
      const { route = null } = response.locals;
      const requestId = response.getHeader("x-request-id");
      faults.error(
        `${known.code} ${String(route)}`,
        { err: known, code: known.code, route, requestId },
        "request failed",
      );
    }
    // too late for a problem: ending the connection tells the caller that the reply is not whole
    if (response.headersSent) next(error);
    else sendProblem(response, known);
  };
}
