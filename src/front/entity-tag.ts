import { createHash } from "node:crypto";
import type { HttpRequest } from "../server/http-handler.js";

/** Names an answer by its bytes. */
export const entityTagOf = (body: Buffer): string =>
  `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`;

/** Whether the client has it already, as its `If-None-Match` says (RFC 9110, 13.1.2). */
export function hasEntity({ headers }: HttpRequest, tag: string): boolean {
  const given = headers["if-none-match"];
  if (given === undefined) return false;
  return given.trim() === "*" || given.split(",").some((each) => each.trim().replace(/^W\//, "") === tag);
}
