import type { connectNodeAdapter } from "@connectrpc/connect-node";

/** Answers requests of either protocol: what Connect's adapter makes, and what its `fallback` takes. */
export type HttpHandler = ReturnType<typeof connectNodeAdapter>;
export type HttpRequest = Parameters<HttpHandler>[0];
export type HttpResponse = Parameters<HttpHandler>[1];

/** Whether the request names a host (HTTP/1.0 need not) that parses. Connect's adapter throws if it does not. */
export function hasUsableAuthority(request: HttpRequest): boolean {
  const authority = "authority" in request ? request.authority : request.headers.host;
  return Boolean(authority) && URL.canParse(`http://${authority}`);
}
