import type { GrantedTiles, RefusedTiles, TilesRefusal } from "../domain/tile-requests/tile-requests.js";
import type { HeaderList } from "../server/http-handler.js";

// How a verdict on tiles travels to the proxy that asked for it: the same by forward auth and by Envoy's ext_authz.

/** For how long a proxy may let tiles of the same token pass without asking: so much later it hears of a revocation. */
const MAX_AGE_SECONDS = 30;

/** All of them, each time: a proxy that misses one would let through what the client sent by that name. */
export const grantHeaders = (tiles: GrantedTiles): HeaderList => [
  ...["x-tilegate-scope", tiles.scope],
  ...["x-tilegate-account", tiles.accountId ?? ""],
  ...["x-tilegate-key-id", tiles.apiKeyId ?? ""],
  ...["x-tilegate-principal", tiles.opener],
  ...["x-tilegate-cache", tiles.isPublic ? "public" : "private"],
];

/** How long a grant may be kept. A key's uses are counted, and it may be revoked at any time: not at all. */
export function cacheControlOf({ expiresIn = 0 }: GrantedTiles): string {
  return expiresIn > 0 ? `max-age=${Math.min(MAX_AGE_SECONDS, expiresIn)}` : "no-store";
}

/** @param rateLimitStatus nginx passes on no 429. */
export function refusalStatus(reason: TilesRefusal, rateLimitStatus: 403 | 429): number {
  switch (reason) {
    case "missing":
      return 401;
    case "rate_limited":
      return rateLimitStatus;
    case "unavailable":
      return 503;
    default:
      return 403;
  }
}

export const refusalHeaders = ({ reason, retryAfterSeconds }: RefusedTiles): HeaderList => [
  ...["x-tilegate-reason", reason],
  ...(reason === "missing" ? ["www-authenticate", "Bearer"] : []),
  ...(retryAfterSeconds === undefined ? [] : ["retry-after", String(retryAfterSeconds)]),
];

/** The body of a refusal, as problem+json. */
export const refusalBody = ({ reason, detail }: RefusedTiles, status: number): string =>
  JSON.stringify({ type: "about:blank", status, detail, reason });
