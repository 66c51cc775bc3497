import type { Clock } from "../domain/clock.js";
import { overloaded } from "../domain/errors.js";
import type { Caller } from "../domain/identity/principal.js";
import type { HttpRequest, HttpResponse } from "../server/http-handler.js";
import { type Body, createBody, isGone } from "./body.js";
import type { Callers } from "./callers.js";
import { readCredentials } from "./credentials.js";
import type { Reserve } from "./reserve.js";

/** One request from its first moment to the end of its answer, whichever door and path it takes. */
export interface Call {
  readonly request: HttpRequest;
  readonly response: HttpResponse;
  readonly body: Body;
  /** Who calls, if that can be told without waiting. */
  known(now: Date): Caller | undefined;
  /**
   * Who calls: resolved once, a refusal too, unless something has changed since or a second has gone by. Asked before the
   * body is read and after, so that no slow body outlives a revocation. @throws what the authenticator throws.
   */
  caller(): Promise<Caller>;
  /**
   * Takes a place among the calls that are worked on, once, until it is answered: for every call that waits for anything.
   * @throws DomainError overloaded.
   */
  enter(caller: Caller): void;
  /**
   * Takes so much of the memory for bodies until it is answered.
   * @throws DomainError overloaded.
   */
  hold(bytes: number, caller: Caller): void;
}

export interface CallsOptions {
  readonly callers: Callers;
  /** Grows with every change of an API key, service token or account that this process hears of. */
  readonly generation: () => number;
  /** Calls that are worked on at a time. */
  readonly places: Reserve;
  /** Bytes of bodies, as they were received and inflated. */
  readonly bytes: Reserve;
  readonly clock: Clock;
}

/** What was found out about a call's credentials. */
interface Resolution {
  readonly caller: Promise<Caller>;
  /** Of which generation. */
  readonly era: number;
  /** Unix milliseconds. */
  readonly at: number;
}

/** As long as callers are remembered between calls. */
const RESOLVED_MS = 1_000;

/** @param query Where its `key` is a credential. */
export type BeginCall = (request: HttpRequest, response: HttpResponse, query?: URLSearchParams) => Call;

export function createCalls({ callers, generation, places, bytes, clock }: CallsOptions): BeginCall {
  return (request, response, query) => {
    const credentials = readCredentials(request, query);
    let resolution: Resolution | undefined;
    let knownCaller: Caller | undefined;
    let knownAt: number | undefined;
    let knownEra: number | undefined;
    let held = 0;
    let entered = false;

    function release(): void {
      places.give(1);
      bytes.give(held);
      held = 0;
    }

    const isOver = () => response.destroyed || isGone(request);

    const call: Call = {
      request,
      response,
      body: createBody(request),
      known(now) {
        // Before the body is read and after it, which is the same moment mostly.
        if (knownAt !== now.getTime() || knownEra !== generation()) {
          knownCaller = callers.peek(credentials, now);
          knownAt = now.getTime();
          knownEra = generation();
        }
        return knownCaller;
      },
      caller() {
        const now = clock();
        const era = generation();
        if (resolution?.era !== era || now.getTime() - resolution.at >= RESOLVED_MS) {
          const known = callers.peek(credentials, now);
          const caller = known === undefined ? callers.resolve(credentials) : Promise.resolve(known);
          resolution = { caller, era, at: now.getTime() };
        }
        return resolution.caller;
      },
      enter(caller) {
        if (entered) return;
        if (!places.take(1, caller.length === 0)) throw overloaded();
        entered = true;
        // It may be over already: its client went away while its credential was looked up.
        if (isOver()) release();
        else response.once("close", release);
      },
      hold(size, caller) {
        call.enter(caller);
        if (isOver()) return;
        if (!bytes.take(size, caller.length === 0)) throw overloaded();
        held += size;
      },
    };
    return call;
  };
}
