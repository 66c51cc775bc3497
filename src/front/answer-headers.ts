import type { HeaderList, HttpRequest } from "../server/http-handler.js";
import { type CorsOptions, createCors } from "./cors.js";

/** Who may have an answer. */
export interface AnswerPolicy {
  /** Whether pages of any origin may call, unless CORS_ORIGINS names some: issuing tokens, not managing. */
  readonly isCrossOrigin: boolean;
  readonly cacheControl: string;
}

/** For how long caches may keep an answer, and whose. */
export interface Caching {
  /** What `Cache-Control` says. */
  readonly control: string;
  /** The request's headers that it depends on, besides its Origin. */
  readonly vary: readonly string[];
}

/** Whose answers are kept must not be given to who sends others: in the headers that `FIELDS` of credentials.ts names. */
export const CREDENTIAL_HEADERS = ["Authorization", "X-Api-Key"];

/** Answers depend on credentials, and error statuses of GET are cacheable unless told otherwise. */
const PRIVATE = "private, no-store";

export const CROSS_ORIGIN: AnswerPolicy = { isCrossOrigin: true, cacheControl: PRIVATE };
export const SAME_ORIGIN: AnswerPolicy = { isCrossOrigin: false, cacheControl: PRIVATE };

export interface AnswerHeaders {
  /** Whether it is a browser's question whether it may call, and is answered by these headers. */
  isPreflight(request: HttpRequest): boolean;
  /** Of every answer to this request. */
  of(request: HttpRequest): HeaderList;
  /** The same of an answer that caches may keep, as it says. Absent: they may keep none. */
  ofKept?(request: HttpRequest, caching: Caching): HeaderList;
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
    const commonOf = (control: string) => ["cache-control", control, "x-content-type-options", "nosniff"];
    const common = commonOf(cacheControl);
    const keptOf = ({ control, vary }: Caching) => [
      ...commonOf(control),
      ...(vary.length > 0 ? ["vary", vary.join(", ")] : []),
    ];
    if (!isCrossOrigin && origins === "*") {
      return { isPreflight: () => false, of: () => common, ofKept: (_request, caching) => keptOf(caching) };
    }
    const cors = createCors({ origins, common });
    // Where every page may read an answer, it doesn't depend on the page: told so, caches would keep one for each.
    const byPage = origins === "*" ? [] : ["Origin"];
    return {
      isPreflight: cors.isPreflight,
      of: cors.headersOf,
      ofKept: (request, { control, vary }) => [
        ...keptOf({ control, vary: [...vary, ...byPage] }),
        ...cors.permissionOf(request),
      ],
    };
  }
}
