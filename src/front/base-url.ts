import { parseUrl } from "../domain/url.js";
import type { HttpRequest } from "../server/http-handler.js";
import type { ClientAddresses } from "./client-address.js";

/** A host and perhaps its port, in any letter case: what a URL parser would read as anything else is none. */
const HOST = /^(?:\[[0-9a-f:.]+\]|[\w.-]+)(?::\d{1,5})?$/i;

/**
 * How the client reached this server: `https://maps.example.com`. What proxies say of that in `X-Forwarded-Proto` and `X-Forwarded-Host`
 * counts if they are trusted. Undefined if it can't be told: no host, or a malformed one; several, or a scheme that is none, from a proxy.
 *
 * It is the client's word in any case. What is made of it is for that client alone, never for a cache that others ask.
 */
export function baseUrlOf(
  request: HttpRequest,
  addresses: Pick<ClientAddresses, "isFromProxy">,
): string | undefined {
  const forwarded = addresses.isFromProxy(request) ? request.headers : {};
  const scheme = forwarded["x-forwarded-proto"] ?? ("encrypted" in request.socket ? "https" : "http");
  const host = forwarded["x-forwarded-host"] ?? authorityOf(request);
  if (scheme !== "https" && scheme !== "http") return undefined;
  return typeof host === "string" && HOST.test(host) ? parseUrl(`${scheme}://${host}`)?.origin : undefined;
}

const authorityOf = (request: HttpRequest): string | undefined =>
  "authority" in request ? request.authority : request.headers.host;
