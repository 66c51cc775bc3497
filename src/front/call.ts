import type { Clock } from "../domain/clock.js";
import { overloaded } from "../domain/errors.js";
import type { Caller } from "../domain/identity/principal.js";
import type { HttpRequest, HttpResponse, OpenExchange } from "../server/http-handler.js";
import type { AnswerHeaders, Caching } from "./answer-headers.js";
import { type Body, createBody, isGone } from "./body.js";
import type { Callers } from "./callers.js";
import type { ClientAddresses } from "./client-address.js";
import { readCredentials, type SentCredentials } from "./credentials.js";
import type { Observer } from "./observe.js";
import { requestIdOf } from "./request-id.js";
import type { Reserve } from "./reserve.js";

/** One request from its first moment to the end of its answer, whichever door and path it takes. */
export interface Call {
  readonly request: HttpRequest;
  readonly response: HttpResponse;
  /** What the answer carries as `X-Request-Id`. */
  readonly id: string;
  /** Of its target. Empty for an RPC. Not to be written to. */
  readonly query: URLSearchParams;
  /** Names and values in turn of every answer to it, for its door to add to. */
  readonly headers: string[];
  readonly body: Body;
  /** Lets caches keep the answer: changes its headers, to which nothing may have been added. */
  letKeep(caching: Caching): void;
  /**
   * Who calls: resolved once, a refusal too, unless something has changed since or a second has gone by. Asked before the
   * body is read and after, so that no slow body outlives a revocation. At once where that is known.
   * @throws what the authenticator throws, by promise.
   */
  caller(): Caller | Promise<Caller>;
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
  /** Tells how it ends, for whoever observes calls. The first word counts. */
  note(code: string): void;
}

export interface CallsOptions {
  readonly callers: Callers;
  readonly addresses: Pick<ClientAddresses, "of">;
  /** Grows with every change of an API key, service token or account that this process hears of. */
  readonly generation: () => number;
  /** Calls that are worked on at a time. */
  readonly places: Reserve;
  /** Bytes of bodies, as they were received and inflated. */
  readonly bytes: Reserve;
  readonly observe: Observer;
  readonly clock: Clock;
}

/** Which call it is. */
export interface CallKind {
  readonly door: "rpc" | "rest";
  /** As it is observed. */
  readonly name: string;
  /** Of every answer to it. */
  readonly headers: AnswerHeaders;
}

/** As long as callers are remembered between calls. */
const RESOLVED_MS = 1_000;

/** How an answer ended that its client did not wait for. */
const GONE = "canceled";

/** @param query Where its `key` is a credential: not in an RPC's URL, which would be logged. */
export type BeginCall = (
  request: HttpRequest,
  response: HttpResponse,
  exchange: OpenExchange,
  kind: CallKind,
  query: URLSearchParams,
) => Call;

export function createCalls(options: CallsOptions): BeginCall {
  return (request, response, exchange, kind, query) =>
    new HttpCall(options, request, response, exchange, kind, query);
}

/**
 * What is left of a call until its answer is out. Little: over HTTP/2 a stream outlives several collections of new objects, and with
 * it all that it holds.
 */
class Remainder {
  code = "";
  caller: Caller | undefined;
  heldBytes = 0;
  hasEntered = false;

  constructor(
    private readonly options: CallsOptions,
    private readonly exchange: OpenExchange,
    private readonly kind: CallKind,
    private readonly id: string,
  ) {}

  /** The server's word that it is over. */
  end() {
    const { places, bytes, observe } = this.options;
    const { door, name } = this.kind;
    if (this.hasEntered) places.give(1);
    bytes.give(this.heldBytes);
    this.heldBytes = 0;
    observe({
      door,
      name,
      requestId: this.id,
      code: this.exchange.isAnswered() ? this.code : GONE,
      durationMs: performance.now() - this.exchange.beganMs,
      caller: this.caller,
    });
  }
}

/** A class, because each call makes one: methods that are shared cost nothing. */
class HttpCall implements Call {
  readonly id: string;
  readonly headers: string[];
  readonly body: Body;
  private readonly credentials: SentCredentials;
  private readonly remainder: Remainder;
  private resolved: Caller | Promise<Caller> | undefined;
  private resolvedAt = 0;
  private resolvedEra = 0;

  constructor(
    private readonly options: CallsOptions,
    readonly request: HttpRequest,
    readonly response: HttpResponse,
    exchange: OpenExchange,
    private readonly kind: CallKind,
    readonly query: URLSearchParams,
  ) {
    this.credentials = readCredentials(request, query, () => options.addresses.of(request));
    this.id = requestIdOf(request);
    this.headers = [...kind.headers.of(request), "x-request-id", this.id];
    this.body = createBody(request);
    this.remainder = new Remainder(options, exchange, kind, this.id);
    exchange.listener = this.remainder;
  }

  letKeep(caching: Caching) {
    const { headers, kind, request, id } = this;
    const kept = kind.headers.ofKept?.(request, caching);
    if (kept !== undefined) headers.splice(0, headers.length, ...kept, "x-request-id", id);
  }

  caller() {
    const { callers, generation, clock } = this.options;
    const now = clock();
    const era = generation();
    const isOld = era !== this.resolvedEra || now.getTime() - this.resolvedAt >= RESOLVED_MS;
    if (this.resolved !== undefined && !isOld) return this.resolved;
    const isAgain = this.resolved !== undefined;
    const known = callers.peek(this.credentials, now);
    this.remainder.caller = known;
    this.resolved = known ?? this.resolve(isAgain);
    this.resolvedAt = now.getTime();
    this.resolvedEra = era;
    return this.resolved;
  }

  private async resolve(isAgain: boolean): Promise<Caller> {
    const caller = await this.options.callers.resolve(this.credentials, isAgain);
    this.remainder.caller = caller;
    return caller;
  }

  enter(caller: Caller) {
    const { remainder } = this;
    // It may be over already: its client went away while its credential was looked up.
    if (remainder.hasEntered || this.isOver()) return;
    if (!this.options.places.take(1, caller.length === 0)) throw overloaded();
    remainder.hasEntered = true;
  }

  hold(size: number, caller: Caller) {
    this.enter(caller);
    if (this.isOver()) return;
    if (!this.options.bytes.take(size, caller.length === 0)) throw overloaded();
    this.remainder.heldBytes += size;
  }

  note(code: string) {
    this.remainder.code ||= code;
  }

  private isOver(): boolean {
    return this.response.destroyed || isGone(this.request);
  }
}
