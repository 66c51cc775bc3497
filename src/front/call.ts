import type { Credentials } from "../domain/authentication/authenticator.js";
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

export function createCalls(options: CallsOptions): BeginCall {
  return (request, response, query) =>
    new HttpCall(options, request, response, readCredentials(request, query));
}

/** A class, because each call makes one: methods that are shared cost nothing. */
class HttpCall implements Call {
  readonly body: Body;
  private resolution: Resolution | undefined;
  private knownCaller: Caller | undefined;
  private knownAt: Date | undefined;
  private knownEra = 0;
  private held = 0;
  private hasEntered = false;

  constructor(
    private readonly options: CallsOptions,
    readonly request: HttpRequest,
    readonly response: HttpResponse,
    private readonly credentials: Credentials,
  ) {
    this.body = createBody(request);
  }

  known(now: Date) {
    const era = this.options.generation();
    // Before the body is read and after it, which is the same moment mostly.
    if (this.knownAt?.getTime() !== now.getTime() || this.knownEra !== era) {
      this.knownCaller = this.options.callers.peek(this.credentials, now);
      this.knownAt = now;
      this.knownEra = era;
    }
    return this.knownCaller;
  }

  caller() {
    const { callers, generation, clock } = this.options;
    const now = clock();
    const era = generation();
    if (this.resolution?.era !== era || now.getTime() - this.resolution.at >= RESOLVED_MS) {
      const known = callers.peek(this.credentials, now);
      const caller = known === undefined ? callers.resolve(this.credentials) : Promise.resolve(known);
      this.resolution = { caller, era, at: now.getTime() };
    }
    return this.resolution.caller;
  }

  enter(caller: Caller) {
    if (this.hasEntered) return;
    if (!this.options.places.take(1, caller.length === 0)) throw overloaded();
    this.hasEntered = true;
    // It may be over already: its client went away while its credential was looked up.
    if (this.isOver()) this.release();
    else this.response.once("close", () => this.release());
  }

  hold(size: number, caller: Caller) {
    this.enter(caller);
    if (this.isOver()) return;
    if (!this.options.bytes.take(size, caller.length === 0)) throw overloaded();
    this.held += size;
  }

  private isOver(): boolean {
    return this.response.destroyed || isGone(this.request);
  }

  private release() {
    this.options.places.give(1);
    this.options.bytes.give(this.held);
    this.held = 0;
  }
}
