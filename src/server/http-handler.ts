import type { connectNodeAdapter } from "@connectrpc/connect-node";

/** Answers requests of either protocol: what Connect's adapter makes, and what its `fallback` takes. */
export type HttpHandler = ReturnType<typeof connectNodeAdapter>;
export type HttpRequest = Parameters<HttpHandler>[0];
export type HttpResponse = Parameters<HttpHandler>[1];

/** Most requests name the same host as the one before. */
let lastUsable = "";

/** Whether the request names a host (HTTP/1.0 need not) that parses. Connect's adapter throws if it does not. */
export function hasUsableAuthority(request: HttpRequest): boolean {
  const authority = "authority" in request ? request.authority : request.headers.host;
  if (!authority) return false;
  if (authority === lastUsable) return true;
  if (!URL.canParse(`http://${authority}`)) return false;
  lastUsable = authority;
  return true;
}
