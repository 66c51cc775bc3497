import { cors } from "@connectrpc/connect";
import type { HttpRequest, HttpResponse } from "./http-handler.js";

export interface CorsOptions {
  /** Whose pages may call: every origin, or these, as browsers send them (`https://maps.example.com`). */
  readonly origins: "*" | readonly string[];
}

const allowedMethods = [...cors.allowedMethods, "DELETE"].join(", ");
const allowedHeaders = [...cors.allowedHeaders, "Authorization", "X-Api-Key"].join(", ");
const exposedHeaders = [...cors.exposedHeaders, "Retry-After"].join(", ");
/** Two hours in seconds, the longest that Chromium honours. */
const maxAgeSeconds = 7200;

/**
 * Makes a function that sets the response headers by which browsers let a page read the answer. It returns true if the
 * request was a preflight: that is then answered. Never allows credentials, so cookies play no part.
 */
export function createCors(options: CorsOptions): (request: HttpRequest, response: HttpResponse) => boolean {
  const listed = options.origins === "*" ? undefined : new Set(options.origins);

  return (request, response) => {
    const { origin } = request.headers;
    // Also without an Origin: a shared cache must not give the answer for one page to another.
    if (listed) response.appendHeader("Vary", "Origin");
    if (origin === undefined) return false;

    const allowed = listed === undefined || listed.has(origin);
    if (allowed) response.setHeader("Access-Control-Allow-Origin", listed ? origin : "*");
    if (request.method !== "OPTIONS" || !request.headers["access-control-request-method"]) {
      if (allowed) response.setHeader("Access-Control-Expose-Headers", exposedHeaders);
      return false;
    }
    if (allowed) {
      response.setHeader("Access-Control-Allow-Methods", allowedMethods);
      response.setHeader("Access-Control-Allow-Headers", allowedHeaders);
      response.setHeader("Access-Control-Max-Age", maxAgeSeconds);
    }
    response.writeHead(204);
    response.end();
    return true;
  };
}
