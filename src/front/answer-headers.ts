import type { HeaderList, HttpRequest } from "../server/http-handler.js";
import { type CorsOptions, createCors } from "./cors.js";

/** Who may have an answer. */
export interface AnswerPolicy {
  /** Whether pages of any origin may call, unless CORS_ORIGINS names some: issuing tokens, not managing. */
  readonly isCrossOrigin: boolean;
  readonly cacheControl: string;
}

/** Answers depend on credentials, and error statuses of GET are cacheable unless told otherwise. */
const PRIVATE = "private, no-store";

export const CROSS_ORIGIN: AnswerPolicy = { isCrossOrigin: true, cacheControl: PRIVATE };
export const SAME_ORIGIN: AnswerPolicy = { isCrossOrigin: false, cacheControl: PRIVATE };

export interface AnswerHeaders {
  /** Whether it is a browser's question whether it may call, and is answered by these headers. */
  isPreflight(request: HttpRequest): boolean;
  /** Of every answer to this request. */
  of(request: HttpRequest): HeaderList;
}

/** @returns What goes with the answers of routes that have such a policy. */
export function createAnswerHeaders(
  origins: CorsOptions["origins"],
): (policy: AnswerPolicy) => AnswerHeaders {
  const known = new Map<AnswerPolicy, AnswerHeaders>();
  return (policy) => {
    const headers = known.get(policy) ?? create(policy);
    known.set(policy, headers);
    return headers;
  };

  function create({ isCrossOrigin, cacheControl }: AnswerPolicy): AnswerHeaders {
    const common = ["cache-control", cacheControl, "x-content-type-options", "nosniff"];
    if (!isCrossOrigin && origins === "*") return { isPreflight: () => false, of: () => common };
    const cors = createCors({ origins, common });
    return { isPreflight: cors.isPreflight, of: cors.headersOf };
  }
}
