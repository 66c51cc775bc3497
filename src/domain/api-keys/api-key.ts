import type { Page, PageRequest } from "../page.js";

/** What its managers decide about a key. */
export interface ApiKeySettings {
  readonly name: string;
  readonly description: string;
  /** What the User-Agent must contain, case-sensitively. Empty: anything. */
  readonly userAgent: string;
  /** Patterns as they were written, all valid. Empty: anywhere. */
  readonly origins: readonly string[];
  /** IP ranges as they were written, all valid: where requests may come from. Empty: anywhere. */
  readonly allowedIps: readonly string[];
  readonly enabled: boolean;
  /** Absent: never. */
  readonly expireTime?: Date | undefined;
  /** Canonical ids, each once: datasets of the key's account that it opens beyond the public ones. */
  readonly datasetIds: readonly string[];
  /** Absent: without limit. */
  readonly rateLimit?: RateLimit | undefined;
}

export interface RateLimit {
  /** At most so many per window. */
  readonly requests: number;
  readonly windowSeconds: number;
}

/** A publishable key as it is stored. Its token exists in the clear only within the use cases. */
export interface ApiKey extends ApiKeySettings {
  readonly id: string;
  readonly accountId: string;
  readonly current: SealedToken;
  /** Since a rotation with a grace period. */
  readonly previous?: PreviousToken | undefined;
  readonly created: Date;
  /** When anything but `lastUsed` last changed. */
  readonly changed: Date;
  /** At most a minute late. Absent: never. */
  readonly lastUsed?: Date | undefined;
  readonly deleted?: Date | undefined;
  /** Counts the writes of the row, from 1. */
  readonly revision: number;
}

/** A token that only a vault with its key ring can open. */
export interface SealedToken {
  /** Keyed hash of the token, 32 bytes, unique over all current and previous tokens. */
  readonly lookupHash: Uint8Array;
  /** Bound to the key's id and to whether the token is the current or the previous one. */
  readonly ciphertext: Uint8Array;
}

export interface PreviousToken extends SealedToken {
  /** From then on the token is refused. Never after the key's own `expireTime`. */
  readonly expireTime: Date;
}

export interface CountedPage extends Page<ApiKey> {
  /** All of the account that are not deleted. 0 for one that is not there. */
  readonly totalCount: number;
}

/** The truth: each call asks the database. */
export interface ApiKeyStore {
  /** Deleted ones too. */
  read(id: string): Promise<ApiKey | undefined>;
  /** The key whose current or previous token has one of these hashes. Deleted ones too. One statement. */
  readByTokenHash(lookupHashes: readonly Uint8Array[]): Promise<ApiKey | undefined>;
  /** Not deleted ones, newest first. One statement, which reads a counter, whatever their number. */
  list(accountId: string, page: PageRequest): Promise<CountedPage>;
  /** All accounts' keys, deleted ones too, by id: the `limit` ones after `after`. Fewer: the last. */
  listAll(page: { readonly limit: number; readonly after?: string | undefined }): Promise<readonly ApiKey[]>;
}

export interface ApiKeyTransaction extends Pick<ApiKeyStore, "read"> {
  /** @throws DuplicateError for a taken `id` or `lookupHash`. */
  insert(key: ApiKey): Promise<void>;
  /**
   * Puts `key` in the place of `former`, as that was read. Leaves `lastUsed` alone, which the recorder writes.
   * @throws ConcurrentChangeError unless the stored revision is that of `former`.
   */
  replace(key: ApiKey, former: ApiKey): Promise<void>;
}

/** Cached: what a token stands for. A change is obeyed as soon as its announcement arrives. */
export interface ApiKeyCache {
  /** As ApiKeyStore.readByTokenHash. @throws DomainError unavailable, when that can't be told now. */
  lookUp(tokenHashes: readonly Uint8Array[]): Promise<ApiKey | undefined>;
}

/** Notes uses and writes them later, in batches. */
export interface LastUsedRecorder {
  /** Returns at once and never throws. */
  record(apiKeyId: string, at: Date): void;
}

export type RateLimitDecision =
  | { readonly allowed: true }
  | { readonly allowed: false; readonly retryAfterSeconds: number };

export interface RateLimiter {
  /** Counts a use. Never rejects: when what is shared can't be reached, it limits locally. */
  take(apiKeyId: string, limit: RateLimit, now: Date): Promise<RateLimitDecision>;
}
