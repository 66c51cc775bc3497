import { randomUUID } from "node:crypto";
import type { HttpRequest } from "../server/http-handler.js";

/** Letters that mean nothing in a log, a header or a page. */
const USABLE = /^[\w.:~+/=@-]{1,128}$/;

/** The `X-Request-Id` that the caller sent, if it is 1 to 128 of these characters and there once; else one of our own. */
export function requestIdOf({ headers }: HttpRequest): string {
  const sent = headers["x-request-id"];
  return typeof sent === "string" && USABLE.test(sent) ? sent : randomUUID();
}
