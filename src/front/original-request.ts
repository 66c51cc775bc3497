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

/** What is wrong with the method of a request for a tile. */
export const problemOfMethod = (method: string | undefined): string | undefined =>
  method === "GET" || method === "HEAD" ? undefined : "tiles are read by GET and HEAD only";

/** What is wrong with a header of this name, in lower case. */
export function problemOfName(name: string): string | undefined {
  if (!name.includes("_")) return undefined;
  const dashed = name.replaceAll("_", "-");
  const isAlias = DECIDING.has(dashed) || dashed.startsWith(OWN_PREFIX);
  return isAlias ? 'a header has "_" where one that decides has "-"' : undefined;
}

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
        continue;
      }
      const problem = problemOfName(name);
      if (problem !== undefined) return { problem };
    }
    let target: string | undefined;
    for (const [index, value] of told.entries()) {
      if (value === undefined) continue;
      if (index >= uriHeaders.length) {
        const problem = problemOfMethod(value);
        if (problem !== undefined) return { problem };
      } else if (target !== undefined && target !== value) {
        return { problem: `${uriHeaders.join(" and ")} differ` };
      } else {
        target = value;
      }
    }
    if (target === undefined) return { problem: `the original URI is missing: ${uriHeaders.join(" or ")}` };
    const problem = problemOfMethod(request.method);
    return problem === undefined ? { target } : { problem };
  };
}
