import type { z } from "zod";
import type { Caller } from "../domain/identity/principal.js";
import type { AnswerPolicy, Caching } from "../front/answer-headers.js";
import { entityTagOf } from "../front/entity-tag.js";
import type { HttpRequest } from "../server/http-handler.js";

export interface RestRequest {
  /** Who makes the request. */
  readonly caller: Caller;
  /** As it was received, for what a route reads of its headers. */
  readonly received: HttpRequest;
  readonly query: URLSearchParams;
  /** What stands in the place of the template's parts, percent-decoded. */
  readonly params: Readonly<Record<string, string>>;
  /** Up to 64 KiB, as it was sent. */
  readonly body: Buffer;
  /**
   * The body's value; undefined if it is empty.
   * @throws HttpError 400 for what isn't JSON; DomainError for what is not worth parsing.
   */
  json(): unknown;
  /** To be called before anything is waited for, where `isUsuallyAtOnce`. @throws DomainError overloaded. */
  beforeWaiting(): void;
}

/** A route as data: dispatch, CORS, caching, observation and what describes the API are derived from it. */
export interface RestRoute {
  /** `geolens.batch_tokens`: of log lines and metrics. */
  readonly name: string;
  readonly method: "GET" | "POST" | "DELETE";
  /** A template such as `/v1/api_keys/{key_id}`, whose parts become `params`. */
  readonly path: string;
  /** Other templates of the same parts. */
  readonly aliases?: readonly string[];
  readonly policy: AnswerPolicy;
  /**
   * Whether such a caller may use the route at all: told before a body is read. Absent: it doesn't matter who calls, and
   * credentials are not looked at. @throws DomainError
   */
  permit?(caller: Caller): void;
  /** Of any list in the body: with more it is not looked at. Absent: the route tells by itself. */
  readonly maxItems?: number;
  /** Whether it mostly has its answer without waiting: then it takes its place by itself, when it must wait. */
  readonly isUsuallyAtOnce?: boolean;
  /** Of the body. Absent: it has none. */
  readonly request?: z.ZodType;
  /** Of the body of a 200 answer. */
  readonly response: z.ZodType;
  /** The body of a 200 answer, at once or by promise. */
  handle(request: RestRequest): unknown;
}

/** A 200 answer that caches may keep, or a 304 to who has it. */
export class KeptJson {
  private knownTag: string | undefined;

  constructor(
    readonly body: Buffer,
    readonly caching: Caching,
  ) {}

  /** Made once, and not for each stranger who asks for the same. */
  get tag(): string {
    this.knownTag ??= entityTagOf(this.body);
    return this.knownTag;
  }
}

/** A body that is JSON already: one character of a text is one byte. */
export class JsonText {
  constructor(readonly text: string | Buffer) {}
}
