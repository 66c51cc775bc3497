import { mayKnowOf } from "../access/access.js";
import type { Clock } from "../clock.js";
import type { DatasetCache } from "../datasets/dataset.js";
import { unavailable } from "../errors.js";
import { manages, requireManager } from "../identity/management.js";
import type { ApiKeyPrincipal, Caller } from "../identity/principal.js";
import { isWellFormedSecret } from "../identity/secret.js";
import { canonicalUuid } from "../uuid.js";
import type { ApiKey, ApiKeyCache, LastUsedRecorder, RateLimiter } from "./api-key.js";
import type { RequestSource } from "./origins.js";
import { type ApiKeyRefusal, expiryOf, findRefusal, type MatchedToken, principalOf } from "./restrictions.js";
import type { Vault } from "./vault.js";

/** The request that a key came with. An empty header counts as absent. */
export interface ApiKeyRequest extends RequestSource {
  /** The User-Agent header. */
  readonly userAgent?: string | undefined;
  /** The client's IP address, in any form. Absent, or no address: unknown, which a key with `allowedIps` refuses. */
  readonly clientIp?: string | undefined;
  /** The dataset that it asks for: a UUID in any letter case. Absent: none in particular. */
  readonly datasetId?: string | undefined;
}

export type ApiKeyVerdict = AcceptedApiKey | RefusedApiKey;

export interface AcceptedApiKey {
  readonly valid: true;
  readonly principal: ApiKeyPrincipal;
  /** When the token that was sent stops working. Absent: never. */
  readonly expireTime?: Date | undefined;
  /** Notes another use by the same request. Absent for a key whose uses must be counted one by one. */
  readonly reuse?: ((at: Date) => void) | undefined;
}

export interface RefusedApiKey {
  readonly valid: false;
  /** For the key's managers. The public only learns that the key is refused. */
  readonly refusal: ApiKeyRefusal;
  /** The key that was refused. Absent with not_found. */
  readonly key?: Pick<ApiKey, "id" | "accountId"> | undefined;
  /** When the token that was sent stops, or stopped, working. Absent: never. */
  readonly expireTime?: Date | undefined;
  /** With rate_limited. */
  readonly retryAfterSeconds?: number | undefined;
}

/** Deciding on keys. Writes nothing; counts towards the rate limit; accepted uses go to the recorder. */
export interface ApiKeyVerification {
  /**
   * Decides on a credential.
   * @param isAgain Whether it came with a request that it was decided on for before, and so is counted already.
   * @throws DomainError unavailable, when that can't be told now.
   */
  resolve(token: string, request: ApiKeyRequest, isAgain?: boolean): Promise<ApiKeyVerdict>;
  /**
   * The same, asked by somebody else. Keys that `caller` doesn't manage are not found.
   * @throws DomainError unauthenticated or permission_denied unless `caller` manages an account; unavailable.
   */
  verify(caller: Caller, token: string, request: ApiKeyRequest): Promise<ApiKeyVerdict>;
}

export interface ApiKeyVerificationOptions {
  readonly apiKeys: ApiKeyCache;
  readonly vault: Vault;
  readonly datasets: Pick<DatasetCache, "lookUp">;
  readonly rateLimiter: RateLimiter;
  readonly lastUsed: LastUsedRecorder;
  readonly clock: Clock;
}

const NOT_FOUND: RefusedApiKey = { valid: false, refusal: "not_found" };

export function createApiKeyVerification(options: ApiKeyVerificationOptions): ApiKeyVerification {
  const { apiKeys, vault, datasets, rateLimiter, lastUsed, clock } = options;

  async function decide(
    token: string,
    request: ApiKeyRequest,
    seen: (key: ApiKey) => boolean,
    isAgain = false,
  ): Promise<ApiKeyVerdict> {
    // Never issued: not worth a look-up.
    if (!isWellFormedSecret("tgk_", token)) return NOT_FOUND;
    const hashes = vault.lookupHashes(token);
    const key = await apiKeys.lookUp(hashes);
    const matched = key && matchedToken(key, hashes);
    if (key === undefined || matched === undefined || !seen(key)) return NOT_FOUND;

    const dataset = await findDataset(key, request.datasetId);
    const now = clock();
    const expireTime = expiryOf(key, matched);
    const refused = { valid: false, key: { id: key.id, accountId: key.accountId }, expireTime } as const;
    const refusal = findRefusal(key, matched, { ...request, dataset }, now);
    if (refusal === "not_found") return NOT_FOUND;
    if (refusal !== undefined) return { ...refused, refusal };
    if (key.rateLimit !== undefined && !isAgain) {
      const taken = await rateLimiter.take(key.id, key.rateLimit, now);
      if (!taken.allowed) {
        return { ...refused, refusal: "rate_limited", retryAfterSeconds: taken.retryAfterSeconds };
      }
    }
    lastUsed.record(key.id, now);
    const reuse = key.rateLimit === undefined ? (at: Date) => lastUsed.record(key.id, at) : undefined;
    return { valid: true, principal: principalOf(key), expireTime, reuse };
  }

  /** What the key may not know of takes as long as what isn't there: its managers must not learn of it either. */
  async function findDataset(key: ApiKey, datasetId: string | undefined) {
    if (datasetId === undefined) return undefined;
    const id = canonicalUuid(datasetId);
    const found = await datasets.lookUp([id], (dataset) => mayKnowOf(dataset, [principalOf(key)]));
    const dataset = found.get(id);
    if (dataset === null) throw unavailable("the database", new Error("the dataset can't be looked up"));
    return dataset ?? "not_found";
  }

  return {
    resolve: (token, request, isAgain) => decide(token, request, () => true, isAgain),
    async verify(caller, token, request) {
      const scope = requireManager(caller);
      return decide(token, request, (key) => manages(scope, key.accountId));
    },
  };
}

/** Undefined if none matches: the row was rotated between the look-up and now, or a cache is behind. */
function matchedToken(key: ApiKey, hashes: readonly Uint8Array[]): MatchedToken | undefined {
  const isOneOf = (hash: Uint8Array) => hashes.some((candidate) => Buffer.compare(candidate, hash) === 0);
  if (isOneOf(key.current.lookupHash)) return "current";
  return key.previous && isOneOf(key.previous.lookupHash) ? "previous" : undefined;
}
