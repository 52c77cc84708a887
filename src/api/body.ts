import express, { type Request, type RequestHandler } from "express";
import { CarillonError } from "../errors.ts";

export const bodyBytesMax = 2 * 1024 * 1024;

/**
 * Reads JSON bodies up to 2 MB. Anything else that has a body is refused before it is read: a form or plain text is what
 * a page of another site could send without asking.
 */
export function jsonBodies(): RequestHandler[] {
  return [
    (request, _response, next) => {
      if (hasBody(request) && !isJson(request.headers["content-type"])) {
        throw new CarillonError("unsupported_media_type", "Send the body with content-type: application/json.");
      }
      next();
    },
    express.json({ limit: bodyBytesMax, type: () => true }),
  ];
}

function hasBody(request: Request): boolean {
  return request.headers["transfer-encoding"] !== undefined || Number(request.headers["content-length"] ?? 0) > 0;
}

function isJson(contentType: string | undefined): boolean {
  return /^application\/json\s*(?:;|$)/i.test(contentType?.trim() ?? "");
}
