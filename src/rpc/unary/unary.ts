import type { DescMethod } from "@bufbuild/protobuf";
import type { Clock } from "../../domain/clock.js";
import type { Caller } from "../../domain/identity/principal.js";
import type { AnswerMemo } from "../../front/answer-memo.js";
import type { Call } from "../../front/call.js";
import { receive } from "../../front/receive.js";
import type { RpcAdapter } from "../adapter.js";
import type { RpcMethod } from "../methods.js";
import type { Answer, HotRpc } from "./codec.js";
import { WIRES, type Wire, wireOf } from "./wire.js";

// The hot RPCs, past the framework: profiles showed that most of a call's time went into Connect's pipeline and
// reflection-driven encoding. docs/performance.md has the figures. The framework is the reference: whatever is unusual about a
// request is left to it, and so is telling a refusal. A property test holds the two equal.

export interface UnaryOptions {
  readonly rpcs: readonly HotRpc[];
  /** Called for each RPC in each protocol. */
  readonly createAnswers: () => AnswerMemo;
  readonly framework: RpcAdapter;
  readonly clock: Clock;
}

export interface Unary {
  /** Answers a call, or leaves it to the framework. */
  answer(call: Call, rpc: RpcMethod): void;
  /** How many calls were answered past the framework. */
  answered(): number;
}

/** 50 ids in JSON are 2 kB. Larger bodies are no usual ones. */
const MAX_BODY_BYTES = 8 * 1024;

const anybody = () => {};

/** A hot RPC in one protocol. */
interface Route {
  readonly hot: HotRpc;
  readonly wire: Wire;
  readonly answers: AnswerMemo;
}

export function createUnary({ rpcs, createAnswers, framework, clock }: UnaryOptions): Unary {
  const routes = new Map<DescMethod, ReadonlyMap<Wire, Route>>(
    rpcs.map((hot) => [
      hot.method,
      new Map(WIRES.map((wire) => [wire, { hot, wire, answers: createAnswers() }])),
    ]),
  );

  /** Undefined as soon as anything is unusual about the request. */
  function routeOf({ request }: Call, { method }: RpcMethod): Route | undefined {
    const { headers } = request;
    if (request.method !== "POST" || headers["content-encoding"] !== undefined) return undefined;
    if (Number(headers["content-length"] ?? 0) > MAX_BODY_BYTES) return undefined;
    const wire = wireOf(request);
    return wire && routes.get(method)?.get(wire);
  }

  let count = 0;

  function send(wire: Wire, call: Call, body: Buffer | string): void {
    count += 1;
    call.note("ok");
    wire.send(call.response, call.headers, body);
  }

  function reply(route: Route, call: Call, rpc: RpcMethod, caller: Caller, body: Buffer): void {
    const { hot, wire, answers } = route;
    const now = clock();
    const recalled = answers.recall(body, now);
    if (recalled !== undefined) {
      send(wire, call, recalled);
      return;
    }
    const answered = ({ message: answer, isForEverybody }: Answer) => {
      const wrapped = wire.wrap(answer);
      if (isForEverybody) answers.remember(body, wrapped, now);
      send(wire, call, wrapped);
    };
    const refused = (error: unknown) => framework.refuse(call, rpc, error);
    try {
      const message = wire.unwrap(body);
      const answer = message && hot.answer(wire.form, message, caller, () => call.enter(caller));
      if (answer === undefined) framework.answer(call, rpc);
      else if (answer instanceof Promise) answer.then(answered).catch(refused);
      else answered(answer);
    } catch (error) {
      refused(error);
    }
  }

  function serve(route: Route, call: Call, rpc: RpcMethod): void {
    const refused = (error: unknown) => framework.refuse(call, rpc, error);
    receive(call, {
      permit: rpc.permit ?? anybody,
      maxBytes: MAX_BODY_BYTES,
      done(caller, body) {
        if (body === undefined) framework.answer(call, rpc);
        else reply(route, call, rpc, caller, body);
      },
      refused,
      failed: refused,
    });
  }

  return {
    answer(call, rpc) {
      const route = routeOf(call, rpc);
      if (route === undefined) framework.answer(call, rpc);
      else serve(route, call, rpc);
    },
    answered: () => count,
  };
}
