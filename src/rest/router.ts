import type { Logger } from "pino";
import { DomainError } from "../domain/errors.js";
import type { Caller } from "../domain/identity/principal.js";
import { type AnswerHeaders, type AnswerPolicy, SAME_ORIGIN } from "../front/answer-headers.js";
import { isGone } from "../front/body.js";
import type { Call } from "../front/call.js";
import { hasEntity } from "../front/entity-tag.js";
import { receive } from "../front/receive.js";
import type { Target } from "../front/target.js";
import { inspectJson } from "../json/inspect.js";
import { describeJson, repeatedMember } from "../schema/inspect.js";
import { writeHead } from "../server/http-handler.js";
import { discardBody } from "../server/unread-body.js";
import { HttpError, sendError, sendJson } from "./problem.js";
import { JsonText, KeptJson, type RestRoute } from "./route.js";

export const MAX_BODY_BYTES = 64 * 1024;

/** So long a body is waited for without taking a place among the calls that are worked on. */
const SMALL_BODY_BYTES = 8 * 1024;

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

const NO_BODY = Buffer.alloc(0);

/** @returns What a request with this method and path is for, be it nothing. */
export type RestRouter = (method: string | undefined, path: string) => Target;

export interface RestRouterOptions {
  readonly routes: readonly RestRoute[];
  readonly headersFor: (policy: AnswerPolicy) => AnswerHeaders;
  readonly log: Logger;
}

type Params = Readonly<Record<string, string>>;

/** All routes of one template, and what is told to those who use none of them. */
interface Resource {
  readonly pattern: RegExp;
  readonly targets: ReadonlyMap<string, (params: Params) => Target>;
  readonly otherwise: Target;
}

export function createRestRouter({ routes, headersFor, log }: RestRouterOptions): RestRouter {
  const templates = new Map<string, RestRoute[]>();
  for (const route of routes) {
    for (const path of [route.path, ...(route.aliases ?? [])]) {
      templates.set(path, [...(templates.get(path) ?? []), route]);
    }
  }
  const exact = new Map<string, Resource>();
  const others: Resource[] = [];
  for (const [template, own] of templates) {
    const resource = createResource(template, own);
    if (template.includes("{")) others.push(resource);
    else exact.set(template, resource);
  }

  function createResource(template: string, own: readonly RestRoute[]): Resource {
    const allow = own.map(({ method }) => method).join(", ");
    const policy = own.find((route) => route.policy.isCrossOrigin)?.policy ?? SAME_ORIGIN;
    return {
      pattern: patternOf(template),
      targets: new Map(
        own.map((route) => {
          const kind = { door: "rest", name: route.name, headers: headersFor(route.policy) } as const;
          return [route.method, (params) => ({ kind, answer: (call) => serve(route, call, params) })];
        }),
      ),
      otherwise: refusing(policy, new HttpError(405, `Use ${allow}`, { headers: { allow } })),
    };
  }

  function refusing(policy: AnswerPolicy, error: HttpError): Target {
    const kind = { door: "rest", name: "unmatched", headers: headersFor(policy) } as const;
    return { kind, answer: (call) => refuse(call, error) };
  }

  const nothing = refusing(SAME_ORIGIN, new HttpError(404, "There is nothing here"));
  const undecodable = refusing(SAME_ORIGIN, new HttpError(400, "The path is not valid percent-encoding"));

  function refuse(call: Call, error: unknown): void {
    const { request, response } = call;
    if (isGone(request)) return;
    discardBody(request, response);
    const status = sendError(call, error);
    const rest = { method: request.method, status };
    if (status === 500) log.error({ rest, err: error }, "unexpected error");
    else if (error instanceof DomainError && error.kind === "unavailable") {
      log.warn({ rest, err: error.cause }, error.message);
    }
  }

  function serve(route: RestRoute, call: Call, params: Params): void {
    const failed = (error: unknown) => refuse(call, error);
    if (route.isUsuallyAtOnce && !isLong(call)) {
      receive(call, {
        permit: (caller) => route.permit?.(caller),
        maxBytes: SMALL_BODY_BYTES,
        done(caller, body) {
          if (body === undefined) readOn(route, call, params).catch(failed);
          else reply(route, call, params, caller, body);
        },
        refused: failed,
        failed,
      });
    } else {
      readOn(route, call, params).catch(failed);
    }
  }

  /** Takes its place before it waits for anything. Probes must hear an answer when all places are taken, too. */
  async function readOn(route: RestRoute, call: Call, params: Params): Promise<void> {
    const caller = await admit(route, call);
    if (route.permit !== undefined) call.enter(caller);
    if (route.request === undefined) return reply(route, call, params, caller, NO_BODY);
    const body = await read(call, caller);
    // Again: a body may take its time.
    reply(route, call, params, await admit(route, call), body);
  }

  function reply(route: RestRoute, call: Call, params: Params, caller: Caller, body: Buffer): void {
    const failed = (error: unknown) => refuse(call, error);
    const answered = (answer: unknown) => {
      if (answer instanceof KeptJson) sendKept(call, answer);
      else sendJson(call, 200, answer);
    };
    try {
      const answer = route.handle({
        caller,
        received: call.request,
        params,
        body,
        query: call.query,
        json: () => parse(body, route.maxItems),
        beforeWaiting: () => call.enter(caller),
      });
      if (answer instanceof Promise) answer.then(answered).catch(failed);
      else answered(answer);
    } catch (error) {
      failed(error);
    }
  }

  return (method, path) => {
    const known = exact.get(path);
    const resource = known ?? others.find(({ pattern }) => pattern.test(path));
    if (resource === undefined) return nothing;
    const target = resource.targets.get(method === "HEAD" ? "GET" : (method ?? ""));
    if (target === undefined) return resource.otherwise;
    if (known !== undefined) return target({});
    const params = paramsOf(resource.pattern, path);
    return params === undefined ? undecodable : target(params);
  };
}

function sendKept(call: Call, { body, caching, tag }: KeptJson): void {
  const { request, response, headers } = call;
  call.letKeep(caching);
  if (hasEntity(request, tag)) {
    call.note("304");
    writeHead(response, 304, [...headers, "etag", tag]);
    response.end();
  } else {
    sendJson(call, 200, new JsonText(body), { etag: tag });
  }
}

/** `{name}` stands for anything but a slash. */
const patternOf = (template: string): RegExp =>
  new RegExp(`^${template.replace(/\./g, "\\.").replace(/\{(\w+)\}/g, "(?<$1>[^/]+)")}$`);

function paramsOf(pattern: RegExp, path: string): Params | undefined {
  const groups = Object.entries(pattern.exec(path)?.groups ?? {});
  try {
    return Object.fromEntries(groups.map(([name, value]) => [name, decodeURIComponent(value)]));
  } catch {
    return undefined;
  }
}

async function admit({ permit }: RestRoute, call: Call): Promise<Caller> {
  if (permit === undefined) return [];
  const caller = await call.caller();
  permit(caller);
  return caller;
}

const announcedBytes = ({ request }: Call): number => Number(request.headers["content-length"] ?? 0);

const isLong = (call: Call): boolean => announcedBytes(call) > SMALL_BODY_BYTES;

async function read(call: Call, caller: Caller): Promise<Buffer> {
  const hold = (bytes: number) => call.hold(bytes, caller);
  const body =
    announcedBytes(call) > MAX_BODY_BYTES ? undefined : await call.body.whole(MAX_BODY_BYTES, hold);
  if (body === undefined) throw new HttpError(413, `The body is larger than ${MAX_BODY_BYTES} bytes`);
  return body;
}

function parse(body: Buffer, maxItems: number | undefined): unknown {
  if (body.length === 0) return undefined;
  const problem = inspectJson(body, maxItems === undefined ? BODY_LIMITS : { ...BODY_LIMITS, maxItems });
  if (problem?.kind === "depth") throw new HttpError(400, "The body is nested too deeply");
  if (problem !== undefined) throw describeJson(problem);
  const value = parseJson(body);
  const repeated = repeatedMember(body.toString());
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
