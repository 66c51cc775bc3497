import type { Logger } from "pino";
import type { Clock } from "../domain/clock.js";
import type { Caller } from "../domain/identity/principal.js";
import type { SecondMemoOptions } from "../domain/second-memo.js";
import type { Call } from "../front/call.js";
import { type HeaderList, type HttpRequest, hasUsableAuthority } from "../server/http-handler.js";
import { within } from "../stores/within.js";
import { type AnswerMemo, createAnswerMemos } from "./answer-memo.js";
import type { Answer, HotCall, Question } from "./hot-call.js";
import { type Body, json, LONGEST_WAIT_MS, WIRES, type Wire, wireOf } from "./wire.js";

// The hot calls, past the framework: profiles showed that most of a call's time went into Connect's pipeline and
// reflection-driven encoding. docs/performance.md has the figures. The plain path is the reference: whatever is unusual
// about a request, or wrong, is left to it, and a property test holds the two equal.

export interface FastPathOptions extends Pick<SecondMemoOptions, "generation"> {
  readonly rpcs: ReadonlyMap<string, HotCall>;
  /** In JSON, whatever the content type says, as REST has it. */
  readonly rest: ReadonlyMap<string, HotCall>;
  /** Of every answer to this request. */
  readonly headersOf: (request: HttpRequest) => HeaderList;
  readonly log: Logger;
  readonly clock: Clock;
  /** Answers what this path doesn't. Sets the headers itself. */
  readonly plain: (call: Call) => void;
}

/** 50 ids in JSON are 2 kB. Larger bodies are no usual ones. */
const MAX_BODY_BYTES = 8 * 1024;

/** @returns Takes a call, and answers it or leaves it to the plain path. */
export function createFastPath(options: FastPathOptions): (call: Call) => void {
  const { headersOf, plain, log, clock } = options;
  const createAnswers = createAnswerMemos(options);
  const rpcs = new Map([...options.rpcs].map(([path, call]) => [path, createRoutes("rpc", call)]));
  const rest = new Map([...options.rest].map(([path, call]) => [path, createRoutes("rest", call)]));

  function createRoutes(kind: Route["kind"], call: HotCall): ReadonlyMap<Wire, Route> {
    return new Map(WIRES.map((wire) => [wire, { kind, call, wire, answers: createAnswers() }]));
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
  function answer(route: Route, call: Call, caller: Caller, body: Buffer): Body | Promise<Body> | undefined {
    const now = clock();
    const recalled = route.answers.recall(body, now);
    if (recalled !== undefined) return recalled;
    const message = route.wire.unwrap(body);
    const question = message && route.call.read(route.wire.form, message);
    if (question === undefined) return undefined;
    const known = question.answerNow(caller, now);
    if (known !== undefined) return wrap(route, body, known, now);
    if (!question.isAnswerable() || !mayEnter(call, caller)) return undefined;
    return within(LONGEST_WAIT_MS, wait(route, caller, body, question));
  }

  async function wait(route: Route, caller: Caller, body: Buffer, question: Question): Promise<Body> {
    const now = clock();
    return wrap(route, body, await question.answer(caller), now);
  }

  function wrap({ wire, answers }: Route, body: Buffer, { message, isForAll }: Answer, now: Date): string {
    const wrapped = wire.wrap(message);
    if (isForAll) answers.remember(body, wrapped, now);
    return wrapped;
  }

  function serve(route: Route, call: Call): void {
    admit(route, call, () =>
      call.body.read(MAX_BODY_BYTES, (body) => {
        if (body === undefined) plain(call);
        // Again: it may have taken its time.
        else admit(route, call, (caller) => reply(route, call, caller, body));
      }),
    );
  }

  /** The plain path tells why a caller is refused, and does not resolve the credentials again. */
  function admit(route: Route, call: Call, done: (caller: Caller) => void): void {
    const known = call.known(clock());
    if (known === undefined) {
      const admitted = (caller: Caller) => (isPermitted(route, caller) ? done(caller) : plain(call));
      call
        .caller()
        .then(admitted, () => plain(call))
        .catch((error) => fail(call, error));
    } else if (isPermitted(route, known)) done(known);
    else plain(call);
  }

  function reply(route: Route, call: Call, caller: Caller, body: Buffer): void {
    const found = answer(route, call, caller, body);
    if (found === undefined) plain(call);
    else if (found instanceof Promise) {
      found
        .then(
          (later) => send(route, call, later),
          () => plain(call),
        )
        .catch((error) => fail(call, error));
    } else send(route, call, found);
  }

  function send({ kind, wire }: Route, { request, response }: Call, body: Body): void {
    // Even what is not logged would be made.
    if (log.isLevelEnabled("debug"))
      log.debug({ [kind]: request.url?.slice(1), code: "ok", fast: true }, kind);
    wire.send(response, headersOf(request), body);
  }

  /** Nobody else would hear of it. */
  function fail({ request }: Call, err: unknown): void {
    log.error({ err }, "unexpected error");
    request.destroy();
  }

  return (call) => {
    const route = routeOf(call.request);
    if (route === undefined) plain(call);
    else serve(route, call);
  };
}

/** What the plain path refuses is its to tell. */
function isPermitted({ call }: Route, caller: Caller): boolean {
  try {
    call.permit(caller);
    return true;
  } catch {
    return false;
  }
}

function mayEnter(call: Call, caller: Caller): boolean {
  try {
    call.enter(caller);
    return true;
  } catch {
    return false;
  }
}

/** A call in one protocol. */
interface Route {
  readonly kind: "rpc" | "rest";
  readonly call: HotCall;
  readonly wire: Wire;
  readonly answers: AnswerMemo;
}
