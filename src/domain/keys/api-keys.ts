import { randomUUID } from "node:crypto";
import type { AccountStore } from "../accounts/account.js";
import type { Clock } from "../clock.js";
import type { DatasetReader } from "../datasets/dataset.js";
import { DomainError, notFound } from "../errors.js";
import { type ManagementScope, managedAccount, manages, requireManager } from "../identity/management.js";
import type { Caller } from "../identity/principal.js";
import { generateSecret } from "../identity/secret.js";
import type { PageRequest } from "../page.js";
import { canonicalUuid, isUuid } from "../uuid.js";
import { type ApiKey, type ApiKeyStore, etagOf } from "./api-key.js";
import { type ApiKeyChange, changeSettings, DEFAULT_SETTINGS, requireValidChange } from "./settings.js";
import type { Vault } from "./vault.js";

/** A key as its managers see it. */
export interface RevealedApiKey {
  /** Its `previous` is there only while the previous token still works. */
  readonly key: ApiKey;
  /** The current token, in the clear. */
  readonly token: string;
  readonly etag: string;
}

export interface ApiKeyPage {
  readonly items: readonly RevealedApiKey[];
  /** Position to go on from. Absent on the last page. */
  readonly next?: bigint | undefined;
  /** All keys of the account that are not deleted. */
  readonly totalCount: number;
}

export interface RotateOptions {
  /** How long the replaced token stays valid. 0: it is refused at once. Default 24 hours. */
  readonly gracePeriodSeconds?: number | undefined;
  readonly etag?: string | undefined;
}

/**
 * Managing keys: for service tokens and administrators their own account's, for the operator all. Ids may be in any
 * letter case. An `etag` that is not current fails with aborted STALE_ETAG; without one the last write wins.
 *
 * Everything throws DomainError: unauthenticated, permission_denied, not_found (also for another account's key),
 * and unavailable when the store can't be reached.
 */
export interface ApiKeys {
  /** Not deleted ones, newest first. Without an account the caller's own. */
  list(caller: Caller, page: PageRequest, accountId?: string): Promise<ApiKeyPage>;
  /** Absent settings get their defaults. @throws DomainError also invalid_argument. */
  create(caller: Caller, settings: ApiKeyChange, accountId?: string): Promise<RevealedApiKey>;
  /** Deleted keys too, for the 30 days in which they can be restored. */
  get(caller: Caller, id: string): Promise<RevealedApiKey>;
  /** @throws DomainError also invalid_argument. */
  update(caller: Caller, id: string, change: ApiKeyChange, etag?: string): Promise<RevealedApiKey>;
  /** A key that is deleted already is not found. */
  delete(caller: Caller, id: string, etag?: string): Promise<RevealedApiKey>;
  /** Restores a key that was deleted less than 30 days ago; changes nothing on one that is not deleted. */
  undelete(caller: Caller, id: string): Promise<RevealedApiKey>;
  /** Gives a key a new token. Of its older ones, only the one replaced now lives on for the grace period. */
  rotate(caller: Caller, id: string, options?: RotateOptions): Promise<RevealedApiKey>;
}

export interface ApiKeysOptions {
  readonly store: ApiKeyStore;
  readonly vault: Vault;
  readonly accounts: Pick<AccountStore, "find">;
  /** Uncached: a key may list a dataset as soon as that exists. */
  readonly datasets: DatasetReader;
  readonly clock: Clock;
}

const RESTORABLE_MS = 30 * 86_400_000;
const DEFAULT_GRACE_SECONDS = 86_400;
/** So many writers would have to overtake one in a row. */
const MAX_ATTEMPTS = 10;

export function createApiKeys({ store, vault, accounts, datasets, clock }: ApiKeysOptions): ApiKeys {
  function reveal(key: ApiKey): RevealedApiKey {
    const rotating = key.previous !== undefined && key.previous.expireTime > clock();
    return {
      key: rotating ? key : { ...key, previous: undefined },
      token: vault.open(key.current, { apiKeyId: key.id, role: "current" }),
      etag: etagOf(key),
    };
  }

  async function find(scope: ManagementScope, id: string): Promise<ApiKey> {
    const key = isUuid(id) ? await store.find(canonicalUuid(id)) : undefined;
    const gone = key?.deleted !== undefined && clock().getTime() - key.deleted.getTime() >= RESTORABLE_MS;
    if (key === undefined || gone || !manages(scope, key.accountId)) throw notFound("API key");
    return key;
  }

  async function findLive(scope: ManagementScope, id: string): Promise<ApiKey> {
    const key = await find(scope, id);
    if (key.deleted !== undefined) throw notFound("API key");
    return key;
  }

  /** Reads, modifies, and writes if nobody else wrote meanwhile, else starts again. */
  async function modify(
    read: () => Promise<ApiKey>,
    etag: string | undefined,
    modified: (key: ApiKey, now: Date) => ApiKey | Promise<ApiKey>,
  ): Promise<RevealedApiKey> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const key = await read();
      if (etag !== undefined && etag !== etagOf(key)) {
        throw new DomainError("aborted", "STALE_ETAG", "the API key changed since it was read", {
          field: "etag",
        });
      }
      const now = clock();
      const next = { ...(await modified(key, now)), changed: now, revision: key.revision + 1 };
      if (await store.replace(next, key.revision)) return reveal(next);
    }
    throw new DomainError("aborted", "CONTENTION", "the API key is being changed by others, try again");
  }

  return {
    async list(caller, page, accountId) {
      const account = managedAccount(requireManager(caller), accountId);
      const [{ items, next }, totalCount] = await Promise.all([
        store.list(account, page),
        store.count(account),
      ]);
      return { items: items.map(reveal), next, totalCount };
    },

    async create(caller, settings, requestedAccountId) {
      const scope = requireManager(caller);
      const accountId = managedAccount(scope, requestedAccountId);
      const id = randomUUID();
      const now = clock();
      const current = vault.seal(generateSecret("tgk_"), { apiKeyId: id, role: "current" });
      const blank = { ...DEFAULT_SETTINGS, id, accountId, current, created: now, changed: now, revision: 1 };
      const key = changeSettings(blank, settings);
      await requireValidChange(key, settings, [], { datasets, now });
      if ((await accounts.find(accountId)) === undefined) throw notFound("account");
      await store.insert(key);
      return reveal(key);
    },

    async get(caller, id) {
      return reveal(await find(requireManager(caller), id));
    },

    async update(caller, id, change, etag) {
      const scope = requireManager(caller);
      return modify(
        () => findLive(scope, id),
        etag,
        async (key, now) => {
          const changed = changeSettings(key, change);
          await requireValidChange(changed, change, key.datasetIds, { datasets, now });
          return { ...changed, previous: clampGrace(changed) };
        },
      );
    },

    async delete(caller, id, etag) {
      const scope = requireManager(caller);
      return modify(
        () => findLive(scope, id),
        etag,
        (key, now) => ({ ...key, deleted: now }),
      );
    },

    async undelete(caller, id) {
      const scope = requireManager(caller);
      const key = await find(scope, id);
      if (key.deleted === undefined) return reveal(key);
      return modify(
        () => find(scope, id),
        undefined,
        (deleted) => ({ ...deleted, deleted: undefined }),
      );
    },

    async rotate(caller, id, { gracePeriodSeconds = DEFAULT_GRACE_SECONDS, etag } = {}) {
      const scope = requireManager(caller);
      return modify(
        () => findLive(scope, id),
        etag,
        (key, now) => {
          const replaced = vault.open(key.current, { apiKeyId: key.id, role: "current" });
          const previous = {
            ...vault.seal(replaced, { apiKeyId: key.id, role: "previous" }),
            expireTime: new Date(now.getTime() + gracePeriodSeconds * 1000),
          };
          const rotated = {
            ...key,
            current: vault.seal(generateSecret("tgk_"), { apiKeyId: key.id, role: "current" }),
            previous: gracePeriodSeconds > 0 ? previous : undefined,
          };
          return { ...rotated, previous: clampGrace(rotated) };
        },
      );
    },
  };
}

/** A previous token never outlives the key. */
function clampGrace({ previous, expireTime }: ApiKey): ApiKey["previous"] {
  if (previous === undefined || expireTime === undefined || previous.expireTime <= expireTime)
    return previous;
  return { ...previous, expireTime };
}
