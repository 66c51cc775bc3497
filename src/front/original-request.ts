import type { HttpRequest } from "../server/http-handler.js";
import type { ClientAddresses } from "./client-address.js";

/** The request that a proxy asks about. */
export interface OriginalRequest {
  /** Its path and query, as the proxy tells them. */
  readonly target: string;
}

/** What it is, or why it is not to be told, in words for whoever runs the proxy. */
export type ReadOriginal = (request: HttpRequest) => OriginalRequest | { readonly problem: string };

export interface OriginalRequestOptions {
  readonly addresses: Pick<ClientAddresses, "isFromProxy">;
  /** The only header that tells the original target, in lower case. Absent: whichever of the two there is. */
  readonly uriHeader?: string | undefined;
}

/** nginx sites set the first, Caddy and Traefik the second. */
const URI_HEADERS: readonly string[] = ["x-original-uri", "x-forwarded-uri"];
const METHOD_HEADERS: readonly string[] = ["x-original-method", "x-forwarded-method"];

/**
 * What decides, by its name with `-`. Some programs take a `_` for it, so that a client's own `X_Forwarded_Uri` would pass by a proxy that
 * sets the real one.
 */
const DECIDING = new Set([
  ...URI_HEADERS,
  ...METHOD_HEADERS,
  ...["authorization", "x-api-key", "origin", "referer", "user-agent", "x-forwarded-for"],
]);

/** Of answers, from which proxies copy them into the request. */
const OWN_PREFIX = "x-tilegate-";

export const isReading = (method: string | undefined): boolean => method === "GET" || method === "HEAD";

/** Whether a header that has a `_` would be one that decides if it had a `-`. */
export const isAlias = (name: string): boolean => {
  const dashed = name.replaceAll("_", "-");
  return DECIDING.has(dashed) || dashed.startsWith(OWN_PREFIX);
};

/**
 * Reads what proxies say of the request that they ask about: by forward auth, which has no other place for it. Nothing is guessed and nothing
 * is normalised: what two programs could read in two ways is a problem.
 */
export function createOriginalRequests({ addresses, uriHeader }: OriginalRequestOptions): ReadOriginal {
  const uriHeaders = uriHeader === undefined ? URI_HEADERS : [uriHeader];
  const names = [...uriHeaders, ...METHOD_HEADERS];

  return (request) => {
    if (!addresses.isFromProxy(request)) return { problem: "the request comes from none of TRUSTED_PROXIES" };
    const { rawHeaders } = request;
    const told: (string | undefined)[] = names.map(() => undefined);
    for (let line = 0; line < rawHeaders.length; line += 2) {
      const name = (rawHeaders[line] ?? "").toLowerCase();
      const index = names.indexOf(name);
      if (index !== -1) {
        if (told[index] !== undefined) return { problem: `${name} is there twice` };
        told[index] = rawHeaders[line + 1] ?? "";
      } else if (name.includes("_") && isAlias(name)) {
        return { problem: 'a header has "_" where one that decides has "-"' };
      }
    }
    let target: string | undefined;
    for (const [index, value] of told.entries()) {
      if (value === undefined) continue;
      if (index >= uriHeaders.length) {
        if (!isReading(value)) return { problem: ONLY_READING };
      } else if (target !== undefined && target !== value) {
        return { problem: `${uriHeaders.join(" and ")} differ` };
      } else {
        target = value;
      }
    }
    if (target === undefined) return { problem: `the original URI is missing: ${uriHeaders.join(" or ")}` };
    return isReading(request.method) ? { target } : { problem: ONLY_READING };
  };
}

const ONLY_READING = "tiles are read by GET and HEAD only";
