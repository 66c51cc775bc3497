import { randomFillSync } from "node:crypto";
import type { HttpRequest } from "../server/http-handler.js";

/** Letters that mean nothing in a log, a header or a page. */
const USABLE = /^[\w.:~+/=@-]{1,128}$/;

const ID_BYTES = 16;

/** Filled for so many ids at once. A UUID, which is put together from 20 texts, leaves ten times as much garbage. */
const random = Buffer.alloc(256 * ID_BYTES);
let used = random.length;

/** 32 hexadecimal digits, which nobody can guess. */
function createRequestId(): string {
  if (used === random.length) {
    randomFillSync(random);
    used = 0;
  }
  used += ID_BYTES;
  return random.toString("hex", used - ID_BYTES, used);
}

/** The `X-Request-Id` that the caller sent, if it is 1 to 128 of these characters and there once; else one of our own. */
export function requestIdOf({ headers }: HttpRequest): string {
  const sent = headers["x-request-id"];
  return typeof sent === "string" && USABLE.test(sent) ? sent : createRequestId();
}
