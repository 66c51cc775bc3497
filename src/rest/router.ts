import type { Logger } from "pino";
import { DomainError } from "../domain/errors.js";
import type { Authenticator, Credentials } from "../domain/identity/authenticator.js";
import type { Caller } from "../domain/identity/principal.js";
import type { HttpRequest, HttpResponse } from "../server/http-handler.js";
import { HttpError, sendError, sendJson } from "./problem.js";

export interface RestContext {
  readonly request: HttpRequest;
  readonly query: URLSearchParams;
  /** The named groups of the route's path, percent-decoded. */
  readonly params: Readonly<Record<string, string>>;
  /** Who makes the request. Asked for by the handler, since not every route cares. */
  caller(): Promise<Caller>;
  /** @throws HttpError 413 for more than 64 KiB, 400 for what isn't JSON; undefined for an empty body. */
  json(): Promise<unknown>;
}

export interface Route {
  readonly method: "GET" | "POST" | "DELETE";
  /** Matches the whole path. Named groups become `params`. */
  readonly path: RegExp;
  /** Resolves to the body of a 200 answer. */
  handle(context: RestContext): Promise<unknown>;
}

export const MAX_BODY_BYTES = 64 * 1024;

/** No request of these APIs nests deeper than 3. */
const MAX_BODY_DEPTH = 32;

export type RestHandler = (request: HttpRequest, response: HttpResponse) => Promise<void>;

export interface RestHandlerOptions {
  readonly routes: readonly Route[];
  readonly authenticator: Authenticator;
  /** The caller, where the credentials have been resolved before the request got here. */
  readonly resolvedCaller: (request: HttpRequest) => Caller | undefined;
  readonly log: Logger;
}

/** Serves `routes`; every failure becomes an answer. */
export function createRestHandler({
  routes,
  authenticator,
  resolvedCaller,
  log,
}: RestHandlerOptions): RestHandler {
  async function answer(request: HttpRequest): Promise<unknown> {
    const url = parseUrl(request.url);
    const matching = routes.filter(({ path }) => path.test(url.pathname));
    if (matching.length === 0) throw new HttpError(404, "There is nothing here");
    const method = request.method === "HEAD" ? "GET" : request.method;
    const route = matching.find((candidate) => candidate.method === method);
    if (route === undefined) {
      const allow = matching.map((candidate) => candidate.method).join(", ");
      throw new HttpError(405, `Use ${allow}`, { headers: { allow } });
    }
    return route.handle({
      request,
      query: url.searchParams,
      params: decodeParams(route.path.exec(url.pathname)?.groups ?? {}),
      caller: async () =>
        resolvedCaller(request) ??
        (await authenticator.authenticate(credentialsOf(request, url.searchParams))).caller,
      json: () => readJson(request),
    });
  }

  return async (request, response) => {
    try {
      sendJson(response, 200, await answer(request));
    } catch (error) {
      if (request.destroyed && !request.complete) return;
      const status = sendError(response, error);
      const rest = { method: request.method, status };
      if (status === 500) log.error({ rest, err: error }, "unexpected error");
      else if (error instanceof DomainError && error.kind === "unavailable") {
        log.warn({ rest, err: error.cause }, error.message);
      }
    }
  };
}

function credentialsOf({ headers }: HttpRequest, query: URLSearchParams): Credentials {
  // Different keys, of which another program might read another one, become one that no key can equal.
  const keys = new Set([headers["x-api-key"] ?? [], query.getAll("key")].flat());
  return {
    authorization: headers.authorization,
    apiKey: keys.size === 0 ? undefined : [...keys].join(","),
    source: { origin: headers.origin, referer: headers.referer, userAgent: headers["user-agent"] },
  };
}

function parseUrl(target = "/"): URL {
  // A path of several slashes would be read as a host.
  if (!target.startsWith("/") || !URL.canParse(`http://tilegate${target}`)) {
    throw new HttpError(400, "The request target is malformed");
  }
  return new URL(`http://tilegate${target}`);
}

function decodeParams(groups: Record<string, string>): Record<string, string> {
  try {
    return Object.fromEntries(
      Object.entries(groups).map(([name, value]) => [name, decodeURIComponent(value)]),
    );
  } catch {
    throw new HttpError(400, "The path is not valid percent-encoding");
  }
}

async function readJson(request: HttpRequest): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  // Leaving the loop must not destroy the request: there would be no answer.
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) break;
    chunks.push(chunk);
  }
  if (size > MAX_BODY_BYTES) {
    // Some clients read the answer only once they have sent everything.
    request.resume();
    throw new HttpError(413, `The body is larger than ${MAX_BODY_BYTES} bytes`);
  }
  if (size === 0) return undefined;
  const value = parseJson(Buffer.concat(chunks));
  if (isNestedDeeper(value, MAX_BODY_DEPTH)) throw new HttpError(400, "The body is nested too deeply");
  return value;
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    // The parser's own message quotes the body, which may carry secrets.
    throw new HttpError(400, "The body is not valid JSON in UTF-8");
  }
}

/** The parser takes any depth, but writing it back in an error would exhaust the stack and end the process. */
const isNestedDeeper = (value: unknown, levels: number): boolean =>
  typeof value === "object" &&
  value !== null &&
  (levels === 0 || Object.values(value).some((member) => isNestedDeeper(member, levels - 1)));
