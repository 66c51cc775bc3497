import type { Logger } from "pino";
import type { RefusedTiles, TileRequests, TilesVerdict } from "../domain/tile-requests/tile-requests.js";
import type { AnswerHeaders } from "../front/answer-headers.js";
import { isGone } from "../front/body.js";
import type { Call } from "../front/call.js";
import { type CorsOptions, createCors } from "../front/cors.js";
import type { ReadOriginal } from "../front/original-request.js";
import { NO_QUERY } from "../front/request-target.js";
import type { Target } from "../front/target.js";
import {
  cacheControlOf,
  grantHeaders,
  refusalBody,
  refusalHeaders,
  refusalStatus,
} from "../front/tile-answers.js";
import { type HttpRequest, writeHead } from "../server/http-handler.js";
import { discardBody } from "../server/unread-body.js";

export const FORWARD_AUTH_PATH = "/auth/tiles";

export interface ForwardAuthOptions {
  readonly tileRequests: TileRequests;
  readonly readOriginal: ReadOriginal;
  /** For keys that were used too often: nginx passes on no 429. */
  readonly rateLimitStatus: 403 | 429;
  readonly corsOrigins: CorsOptions["origins"];
  readonly log: Pick<Logger, "error" | "warn">;
}

const NO_SNIFFING: AnswerHeaders = {
  isPreflight: () => false,
  of: () => ["x-content-type-options", "nosniff"],
};

const KIND = { door: "rest", name: "auth.tiles", headers: NO_SNIFFING } as const;

const DEFECT: RefusedTiles = { granted: false, reason: "unavailable", detail: "internal error" };

/**
 * Forward auth: what nginx' auth_request, Caddy's forward_auth and Traefik's ForwardAuth ask before they pass on a request for a tile.
 * Whatever does not end in a grant ends in a refusal.
 *
 * @returns The target of a request to FORWARD_AUTH_PATH, whatever its method.
 */
export function createForwardAuth(options: ForwardAuthOptions): (request: HttpRequest) => Target {
  const { tileRequests, readOriginal, rateLimitStatus, log } = options;
  // Proxies hand a refusal on to the page, which must be able to read it; from a grant they copy what they are told to.
  const cors = createCors({ origins: options.corsOrigins, common: ["cache-control", "no-store"] });

  function refuse(call: Call, verdict: RefusedTiles): void {
    const { request, response } = call;
    if (isGone(request)) return;
    discardBody(request, response);
    if (verdict.cause !== undefined) log.warn({ rest: KIND.name, err: verdict.cause }, verdict.detail);
    const status = refusalStatus(verdict.reason, rateLimitStatus);
    const body = refusalBody(verdict, status);
    call.note(String(status));
    writeHead(response, status, [
      ...call.headers,
      ...cors.headersOf(request),
      ...refusalHeaders(verdict),
      ...["content-type", "application/problem+json", "content-length", String(Buffer.byteLength(body))],
    ]);
    response.end(body);
  }

  function answer(call: Call, verdict: TilesVerdict): void {
    if (!verdict.granted) {
      refuse(call, verdict);
      return;
    }
    call.note("200");
    const { headers, response } = call;
    headers.push("cache-control", cacheControlOf(verdict), ...grantHeaders(verdict), "content-length", "0");
    writeHead(response, 200, headers);
    response.end();
  }

  const refusing = (verdict: RefusedTiles): Target => ({
    kind: KIND,
    query: NO_QUERY,
    answer: (call) => refuse(call, verdict),
  });

  return (request) => {
    const original = readOriginal(request);
    if ("problem" in original) {
      return refusing({ granted: false, reason: "malformed", detail: original.problem });
    }
    const asked = tileRequests.read(original.target);
    if ("granted" in asked) return refusing(asked);
    return {
      kind: KIND,
      // The tile's own, not this request's.
      query: asked.key === undefined ? NO_QUERY : new URLSearchParams({ key: asked.key }),
      answer(call) {
        const failed = (err: unknown) => {
          log.error({ rest: KIND.name, err }, "unexpected error");
          refuse(call, DEFECT);
        };
        try {
          const verdict = tileRequests.decide(
            asked,
            () => call.caller(),
            (caller) => call.enter(caller),
          );
          if (verdict instanceof Promise) verdict.then((later) => answer(call, later)).catch(failed);
          else answer(call, verdict);
        } catch (error) {
          failed(error);
        }
      },
    };
  };
}
