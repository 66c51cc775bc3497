import { cors } from "@connectrpc/connect";
import type { HeaderList, HttpRequest } from "../server/http-handler.js";

export interface CorsOptions {
  /** Whose pages may call: every origin, or these, as browsers send them (`https://maps.example.com`). */
  readonly origins: "*" | readonly string[];
  /** Of every answer, whoever called. */
  readonly common: HeaderList;
}

const exposedHeaders = [...cors.exposedHeaders, "Retry-After", "X-Request-Id", "X-Tilegate-Reason"].join(
  ", ",
);
const preflightHeaders = [
  ["access-control-allow-methods", [...cors.allowedMethods, "DELETE"].join(", ")],
  [
    "access-control-allow-headers",
    [...cors.allowedHeaders, "Authorization", "X-Api-Key", "X-Request-Id"].join(", "),
  ],
  // Two hours in seconds, the longest that Chromium honours.
  ["access-control-max-age", "7200"],
].flat();

/** Of a request, what tells whose page sent it. */
export type AskedByPage = Pick<HttpRequest, "method" | "headers">;

/** The headers by which browsers let a page call and read the answer. Never credentials, so cookies play no part. */
export interface Cors {
  isPreflight(request: AskedByPage): boolean;
  /** Of the answer to this request, preflight or not, with the common ones. */
  headersOf(request: AskedByPage): HeaderList;
  /** Only what lets its page read the answer. If every page may, it is the same without a page. */
  permissionOf(request: AskedByPage): HeaderList;
}

export function createCors({ origins, common }: CorsOptions): Cors {
  // Also without an Origin: a shared cache must not give the answer for one page to another.
  const refused = origins === "*" ? common : [...common, "vary", "Origin"];
  const permission = (origin: string) => [
    ...["access-control-allow-origin", origin],
    ...["access-control-expose-headers", exposedHeaders],
  ];
  const allowing = (origin: string) => [...refused, ...permission(origin)];
  const anyone = origins === "*" ? allowing("*") : undefined;
  const listed = new Map(origins === "*" ? [] : origins.map((origin) => [origin, allowing(origin)]));

  const isPreflight: Cors["isPreflight"] = ({ method, headers }) =>
    method === "OPTIONS" && headers.origin !== undefined && Boolean(headers["access-control-request-method"]);

  return {
    isPreflight,
    headersOf(request) {
      const { origin } = request.headers;
      const allowed = origin === undefined ? undefined : (anyone ?? listed.get(origin));
      if (allowed === undefined) return refused;
      return isPreflight(request) ? [...allowed, ...preflightHeaders] : allowed;
    },
    permissionOf({ headers: { origin = "" } }) {
      if (origins === "*") return permission("*");
      return listed.has(origin) ? permission(origin) : [];
    },
  };
}
