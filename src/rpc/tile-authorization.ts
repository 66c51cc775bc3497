import type { Logger } from "pino";
import type { Clock } from "../domain/clock.js";
import { canonicalIp } from "../domain/ip-ranges.js";
import type { RefusedTiles, TileRequests, TilesVerdict } from "../domain/tile-requests/tile-requests.js";
import type { Callers } from "../front/callers.js";
import type { Cors } from "../front/cors.js";
import { readCredentials } from "../front/credentials.js";
import { problemOfMethod, problemOfName } from "../front/original-request.js";
import { NO_QUERY } from "../front/request-target.js";
import type { HeaderList } from "../server/http-handler.js";

/** A request that Envoy asks about. */
export interface CheckedRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  /** Names, in lower case, and values in turn. Those of several headers of one name are one, with commas. */
  readonly headers: HeaderList;
  /** The client's address as Envoy tells it; empty if it doesn't. */
  readonly address: string;
}

/** What is to be done about it. */
export interface CheckedTiles {
  readonly verdict: TilesVerdict;
  /** By which a page may read a refusal. */
  readonly corsHeaders: HeaderList;
}

/** Forward auth's rule, asked by Envoy: the proxy's word is a message here. At once when all is known, by promise otherwise. */
export interface TileAuthorization {
  check(request: CheckedRequest, beforeWaiting: () => void): CheckedTiles | Promise<CheckedTiles>;
}

export interface TileAuthorizationOptions {
  readonly tileRequests: TileRequests;
  readonly callers: Pick<Callers, "peek" | "resolve">;
  readonly cors: Cors;
  readonly clock: Clock;
  readonly log: Pick<Logger, "warn">;
}

/** What Envoy joins of several headers of one name: then which of them would count could be told in two ways. */
const DECIDING_ONCE = new Set(["authorization", "x-api-key", "origin"]);

const malformed = (detail: string): RefusedTiles => ({ granted: false, reason: "malformed", detail });

export function createTileAuthorization(options: TileAuthorizationOptions): TileAuthorization {
  const { tileRequests, callers, cors, clock, log } = options;

  function decide(
    { method, path, headers, address }: CheckedRequest,
    beforeWaiting: () => void,
  ): TilesVerdict | Promise<TilesVerdict> {
    const problem = problemOfMethod(method) ?? problemOfHeaders(headers);
    if (problem !== undefined) return malformed(problem);
    const asked = tileRequests.read(path);
    if ("granted" in asked) return asked;
    const caller = () => {
      const query = asked.key === undefined ? NO_QUERY : new URLSearchParams({ key: asked.key });
      const credentials = readCredentials({ rawHeaders: headers }, query, () => canonicalIp(address));
      return callers.peek(credentials, clock()) ?? callers.resolve(credentials, false);
    };
    return tileRequests.decide(asked, caller, beforeWaiting);
  }

  function toChecked({ method, headers }: CheckedRequest, verdict: TilesVerdict): CheckedTiles {
    if (verdict.granted) return { verdict, corsHeaders: [] };
    if (verdict.cause !== undefined) log.warn({ err: verdict.cause }, verdict.detail);
    const at = headers.findIndex((name, index) => index % 2 === 0 && name === "origin");
    const page = at === -1 ? {} : { origin: headers[at + 1] };
    return { verdict, corsHeaders: cors.headersOf({ method, headers: page }) };
  }

  return {
    check(request, beforeWaiting) {
      const verdict = decide(request, beforeWaiting);
      return verdict instanceof Promise
        ? verdict.then((later) => toChecked(request, later))
        : toChecked(request, verdict);
    },
  };
}

function problemOfHeaders(headers: HeaderList): string | undefined {
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index] ?? "";
    const problem = problemOfName(name);
    if (problem !== undefined) return problem;
    if (DECIDING_ONCE.has(name) && headers[index + 1]?.includes(",")) return `${name} is there twice`;
  }
  return undefined;
}
