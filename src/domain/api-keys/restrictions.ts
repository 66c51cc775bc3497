import { decideAccess, type ProtectedDataset } from "../access/access.js";
import { createAttachment } from "../attachment.js";
import type { ApiKeyPrincipal } from "../identity/principal.js";
import { canonicalIp, createIpRanges, type IpRanges, isIpRange } from "../ip-ranges.js";
import type { ApiKey } from "./api-key.js";
import { originAllowed, type RequestSource } from "./origins.js";

/** Why a key is refused, in the order of the checks: the first that fails is the answer. */
export type ApiKeyRefusal =
  /** Malformed, unknown, deleted, or of an account that the asker doesn't manage. */
  | "not_found"
  | "disabled"
  /** The key, or the previous token that was sent. */
  | "expired"
  | "origin"
  | "user_agent"
  /** Also where the client's address is unknown. */
  | "ip"
  | "dataset"
  /** Last, so that a refused request costs the key nothing. */
  | "rate_limited";

/** The request that a key came with. */
export interface RestrictedRequest extends RequestSource {
  readonly userAgent?: string | undefined;
  /** The client's IP address. Absent, or no address: unknown. */
  readonly clientIp?: string | undefined;
  /** The dataset that it asks for. Absent: none in particular. */
  readonly dataset?: ProtectedDataset | "not_found" | undefined;
}

/** Which of the key's tokens was sent. */
export type MatchedToken = "current" | "previous";

/** When the matched token stops working. Absent: never. */
export function expiryOf(key: ApiKey, matched: MatchedToken): Date | undefined {
  const own = key.expireTime;
  if (matched === "current") return own;
  const grace = key.previous?.expireTime;
  return own !== undefined && grace !== undefined && own < grace ? own : grace;
}

/** Who a key stands for, once no restriction refuses it. */
export function principalOf(key: ApiKey): ApiKeyPrincipal {
  return {
    type: "api_key",
    accountId: key.accountId,
    apiKeyId: key.id,
    datasetIds: new Set(key.datasetIds),
  };
}

/** Every restriction but the rate limit, which counts. Undefined when the request may use the key. */
export function findRefusal(
  key: ApiKey,
  matched: MatchedToken,
  request: RestrictedRequest,
  now: Date,
): Exclude<ApiKeyRefusal, "rate_limited"> | undefined {
  if (key.deleted !== undefined) return "not_found";
  if (!key.enabled) return "disabled";
  const expiry = expiryOf(key, matched);
  if (expiry !== undefined && expiry <= now) return "expired";
  if (!originAllowed(key.origins, request)) return "origin";
  if (!(request.userAgent ?? "").includes(key.userAgent)) return "user_agent";
  if (!ipAllowed(key.allowedIps, request.clientIp)) return "ip";
  if (request.dataset !== undefined && !opens(key, request.dataset)) return "dataset";
  return undefined;
}

/** The list of ranges is the same array as long as the key is. */
const compiled = createAttachment<readonly string[], IpRanges>();

function ipAllowed(ranges: readonly string[], clientIp = ""): boolean {
  if (ranges.length === 0) return true;
  const address = canonicalIp(clientIp);
  return address !== undefined && compiledOf(ranges).has(address);
}

function compiledOf(ranges: readonly string[]): IpRanges {
  const before = compiled.of(ranges);
  if (before !== undefined) return before;
  // A stored range that no longer parses has no address: the key stays restricted.
  const made = createIpRanges(ranges.filter(isIpRange));
  compiled.attach(ranges, made);
  return made;
}

function opens(key: ApiKey, dataset: ProtectedDataset | "not_found"): boolean {
  return dataset !== "not_found" && decideAccess(dataset, [principalOf(key)]) === "granted";
}
