import type { HttpRequest } from "../server/http-handler.js";

/** Segments that a URL parser would take away, a part of a segment that it would read as a separator, and all that it would encode. */
const AMBIGUOUS = /\/\/|\\|%2f|%5c|[^\x21-\x7e]|\/(?:\.|%2e){1,2}(?:\/|$)/i;

/**
 * Whether every program reads this target in the same way. A proxy that lets through `/tiles/` and not `/v1/` looks at the
 * path as it stands; so do CORS and the log. So what normalising would change (`/tiles/../v1/`, `//`, `\`, `%2f`) is not
 * served at all. Nor is a request that names two hosts.
 */
export function isUnambiguous({ url = "", rawHeaders, httpVersionMajor }: HttpRequest): boolean {
  const end = url.indexOf("?");
  if (!url.startsWith("/")) return false;
  if (AMBIGUOUS.test(end === -1 ? url : url.slice(0, end)) || url.includes("#")) return false;
  return httpVersionMajor !== 1 || hasOneHost(rawHeaders);
}

export const pathOf = ({ url = "" }: HttpRequest): string => {
  const end = url.indexOf("?");
  return end === -1 ? url : url.slice(0, end);
};

export const NO_QUERY = new URLSearchParams();

/** Of an unambiguous target. Not to be written to. */
export function queryOf({ url = "" }: HttpRequest): URLSearchParams {
  const end = url.indexOf("?");
  return end === -1 ? NO_QUERY : new URLSearchParams(url.slice(end + 1));
}

function hasOneHost(rawHeaders: readonly string[]): boolean {
  let hosts = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? "";
    if (name.length === 4 && name.toLowerCase() === "host") hosts += 1;
  }
  return hosts <= 1;
}
