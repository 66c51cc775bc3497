import type { Logger } from "pino";
import type { Credentials } from "../domain/identity/authenticator.js";
import type { Caller } from "../domain/identity/principal.js";
import {
  type HeaderList,
  type HttpHandler,
  type HttpRequest,
  hasUsableAuthority,
} from "../server/http-handler.js";
import { within } from "../within.js";
import { type AnswerMemo, createAnswerMemo } from "./answer-memo.js";
import { type AuthenticationMemoOptions, createAuthenticationMemo } from "./authentication-memo.js";
import { readBody, restoreBody } from "./body.js";
import type { Answer, HotCall, Question } from "./hot-call.js";
import { type Body, json, LONGEST_WAIT_MS, WIRES, type Wire, wireOf } from "./wire.js";

// The hot calls, past the framework: profiles showed that most of a call's time went into Connect's pipeline and
// reflection-driven encoding. docs/performance.md has the figures. The plain path is the reference: whatever is unusual
// about a request, or wrong, is left to it, and a property test holds the two equal.

export interface FastPathOptions extends AuthenticationMemoOptions {
  readonly rpcs: ReadonlyMap<string, HotCall>;
  /** In JSON, whatever the content type says, as REST has it. */
  readonly rest: ReadonlyMap<string, HotCall>;
  /** Of every answer to this request. */
  readonly headersOf: (request: HttpRequest) => HeaderList;
  readonly log: Logger;
  /** Answers what this path doesn't. Sets the headers itself. */
  readonly plain: HttpHandler;
  /** Gets the callers of requests that may still be left to `plain`: it must not count a use of a key again. */
  readonly resolved: WeakMap<HttpRequest, Caller>;
}

/** 50 ids in JSON are 2 kB. Larger bodies are no usual ones. */
const MAX_BODY_BYTES = 8 * 1024;

export function createFastPath(options: FastPathOptions): HttpHandler {
  const { headersOf, plain, resolved, log, clock } = options;
  const callers = createAuthenticationMemo(options);
  const rpcs = new Map([...options.rpcs].map(([path, call]) => [path, createRoutes("rpc", call)]));
  const rest = new Map([...options.rest].map(([path, call]) => [path, createRoutes("rest", call)]));

  function createRoutes(kind: Route["kind"], call: HotCall): ReadonlyMap<Wire, Route> {
    return new Map(WIRES.map((wire) => [wire, { kind, call, wire, answers: createAnswerMemo(options) }]));
  }

  /** Undefined as soon as anything is unusual about the request. */
  function routeOf(request: HttpRequest): Route | undefined {
    const { method, url = "", headers } = request;
    if (method !== "POST" || headers["content-encoding"] !== undefined) return undefined;
    if (Number(headers["content-length"] ?? 0) > MAX_BODY_BYTES) return undefined;
    const rpc = rpcs.get(url);
    const wire = rpc ? wireOf(request) : json;
    const route = wire && (rpc ?? rest.get(url))?.get(wire);
    // The plain path throws over a malformed Host: that must happen here, where the server catches it, and not later.
    return route && hasUsableAuthority(request) ? route : undefined;
  }

  /** Undefined, or a rejection: the answer is the plain path's. */
  function answer(route: Route, request: HttpRequest, body: Buffer): Body | Promise<Body> | undefined {
    const credentials = credentialsOf(request);
    const now = clock();
    const caller = callers.peek(credentials, now);
    const recalled = caller && route.answers.recall(body, now);
    if (recalled !== undefined) return recalled;
    const message = route.wire.unwrap(body);
    const question = message && route.call.read(route.wire.form, message);
    if (question === undefined) return undefined;
    const known = caller && question.answerNow(caller, now);
    if (known !== undefined) return wrap(route, body, known, now);
    if (!question.isAnswerable()) return undefined;
    return within(LONGEST_WAIT_MS, wait(route, request, body, question, caller));
  }

  async function wait(
    route: Route,
    request: HttpRequest,
    body: Buffer,
    question: Question,
    known: Caller | undefined,
  ): Promise<Body> {
    const caller = known ?? (await callers.resolve(credentialsOf(request)));
    resolved.set(request, caller);
    const now = clock();
    return wrap(route, body, question.answerNow(caller, now) ?? (await question.answer(caller)), now);
  }

  function wrap({ wire, answers }: Route, body: Buffer, { message, isForAll }: Answer, now: Date): Body {
    const wrapped = wire.wrap(message);
    if (isForAll) answers.remember(body, wrapped, now);
    return wrapped;
  }

  return (request, response) => {
    const route = routeOf(request);
    if (route === undefined) {
      plain(request, response);
      return;
    }
    const send = (body: Body) => {
      log.debug({ [route.kind]: request.url?.slice(1), code: "ok", fast: true }, route.kind);
      route.wire.send(response, headersOf(request), body);
    };
    readBody(request, MAX_BODY_BYTES, (body, isWhole) => {
      const giveUp = () => {
        restoreBody(request, body);
        plain(request, response);
      };
      // Nobody else would hear of it.
      const fail = (err: unknown) => {
        log.error({ err }, "unexpected error");
        request.destroy();
      };
      const found = isWhole ? answer(route, request, body) : undefined;
      if (found === undefined) giveUp();
      else if (found instanceof Promise) found.then(send, giveUp).catch(fail);
      else send(found);
    });
  };
}

/** A call in one protocol. */
interface Route {
  readonly kind: "rpc" | "rest";
  readonly call: HotCall;
  readonly wire: Wire;
  readonly answers: AnswerMemo;
}

function credentialsOf({ headers }: HttpRequest): Credentials {
  return {
    authorization: headers.authorization,
    apiKey: headers["x-api-key"]?.toString(),
    source: { origin: headers.origin, referer: headers.referer, userAgent: headers["user-agent"] },
  };
}
