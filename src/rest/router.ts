import type { Logger } from "pino";
import { DomainError } from "../domain/errors.js";
import type { Caller } from "../domain/identity/principal.js";
import { isGone } from "../front/body.js";
import type { Call } from "../front/call.js";
import { inspectJson } from "../json/inspect.js";
import { describeJson, repeatedMember } from "../schema/inspect.js";
import type { HttpRequest } from "../server/http-handler.js";
import { discardBody } from "../server/unread-body.js";
import { HttpError, sendError, sendJson } from "./problem.js";

export interface RestContext {
  readonly request: HttpRequest;
  readonly query: URLSearchParams;
  /** The named groups of the route's path, percent-decoded. */
  readonly params: Readonly<Record<string, string>>;
  /** Who makes the request. Asked for once the body is read, which may take its time. */
  caller(): Promise<Caller>;
  /**
   * @throws HttpError 413 for more than 64 KiB, 400 for what isn't JSON; DomainError for what is not worth parsing; undefined
   * for an empty body.
   */
  json(): Promise<unknown>;
}

export interface Route {
  readonly method: "GET" | "POST" | "DELETE";
  /** Matches the whole path. Named groups become `params`. */
  readonly path: RegExp;
  /**
   * Whether such a caller may use the route at all: told before a body is read. Absent: it doesn't matter who calls, and
   * credentials are not looked at. @throws DomainError
   */
  permit?(caller: Caller): void;
  /** Of any list in the body: with more it is not looked at. Absent: the route tells by itself. */
  readonly maxItems?: number;
  /** Resolves to the body of a 200 answer. */
  handle(context: RestContext): Promise<unknown>;
}

export const MAX_BODY_BYTES = 64 * 1024;

/**
 * No request of these APIs nests deeper than 3, and writing back in an error what does would exhaust the stack. How many
 * items there may be its route says: in 64 KiB there are few enough to parse.
 */
const BODY_LIMITS = {
  maxDepth: 32,
  maxMembers: 64,
  maxItems: Number.POSITIVE_INFINITY,
  maxValues: Number.POSITIVE_INFINITY,
  maxTextBytes: Number.POSITIVE_INFINITY,
  maxBlanks: Number.POSITIVE_INFINITY,
};

export type RestHandler = (call: Call, url: URL) => Promise<void>;

export interface RestHandlerOptions {
  readonly routes: readonly Route[];
  readonly log: Logger;
}

/** Serves `routes`; every failure becomes an answer. */
export function createRestHandler({ routes, log }: RestHandlerOptions): RestHandler {
  async function answer(call: Call, url: URL): Promise<unknown> {
    const { request } = call;
    const matching = routes.filter(({ path }) => path.test(url.pathname));
    if (matching.length === 0) throw new HttpError(404, "There is nothing here");
    const method = request.method === "HEAD" ? "GET" : request.method;
    const route = matching.find((candidate) => candidate.method === method);
    if (route === undefined) {
      const allow = matching.map((candidate) => candidate.method).join(", ");
      throw new HttpError(405, `Use ${allow}`, { headers: { allow } });
    }
    const caller = await admit(route, call);
    return route.handle({
      request,
      query: url.searchParams,
      params: decodeParams(route.path.exec(url.pathname)?.groups ?? {}),
      caller: () => call.caller(),
      json: () => readJson(call, route.maxItems, (bytes) => call.hold(bytes, caller)),
    });
  }

  return async (call, url) => {
    const { request, response } = call;
    try {
      sendJson(response, 200, await answer(call, url));
    } catch (error) {
      if (isGone(request)) return;
      discardBody(request, response);
      const status = sendError(response, error);
      const rest = { method: request.method, status };
      if (status === 500) log.error({ rest, err: error }, "unexpected error");
      else if (error instanceof DomainError && error.kind === "unavailable") {
        log.warn({ rest, err: error.cause }, error.message);
      }
    }
  };
}

/** Probes must hear an answer when all places are taken, too. */
async function admit({ permit }: Route, call: Call): Promise<Caller> {
  if (permit === undefined) return [];
  const caller = await call.caller();
  permit(caller);
  call.enter(caller);
  return caller;
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

async function readJson(
  { request, body }: Call,
  maxItems: number | undefined,
  hold: (bytes: number) => void,
): Promise<unknown> {
  const announced = Number(request.headers["content-length"] ?? 0);
  const bytes = announced > MAX_BODY_BYTES ? undefined : await body.whole(MAX_BODY_BYTES, hold);
  if (bytes === undefined) throw new HttpError(413, `The body is larger than ${MAX_BODY_BYTES} bytes`);
  if (bytes.length === 0) return undefined;
  const problem = inspectJson(bytes, maxItems === undefined ? BODY_LIMITS : { ...BODY_LIMITS, maxItems });
  if (problem?.kind === "depth") throw new HttpError(400, "The body is nested too deeply");
  if (problem !== undefined) throw describeJson(problem);
  const value = parseJson(bytes);
  const repeated = repeatedMember(bytes.toString());
  if (repeated !== undefined) throw repeated;
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
