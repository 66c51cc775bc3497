import { randomUUID } from "node:crypto";
import { requireAccount } from "../accounts/require-account.js";
import type { Clock } from "../clock.js";
import { notFound } from "../errors.js";
import { etagOf, requireCurrent } from "../etag.js";
import { type ManagementScope, managedAccount, manages, requireManager } from "../identity/management.js";
import type { Caller } from "../identity/principal.js";
import { generateSecret } from "../identity/secret.js";
import { type Cursors, type ListedPage, type ListRequest, readPage } from "../page.js";
import type { Transaction, UnitOfWork } from "../unit-of-work.js";
import { canonicalUuid, isUuid } from "../uuid.js";
import type { ApiKey, ApiKeyStore } from "./api-key.js";
import { type ApiKeyChange, changeSettings, DEFAULT_SETTINGS, requireValidChange } from "./settings.js";
import { type Vault, VaultError } from "./vault.js";

/** A key as its managers see it. */
export interface RevealedApiKey {
  /** Its `previous` is there only while the previous token still works. */
  readonly key: ApiKey;
  /**
   * The current token, in the clear. Undefined when no encryption key opens what is stored, because the row was damaged
   * or the key it was sealed under is lost. In a damaged row its hash still finds it: the token works on, unseen.
   */
  readonly token: string | undefined;
  readonly etag: string;
}

/** A key that has just got its token. */
export interface IssuedApiKey extends RevealedApiKey {
  readonly token: string;
}

export interface ApiKeyPage extends ListedPage<RevealedApiKey> {
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
 * unavailable when the store can't be reached, and for changes aborted CONCURRENT_CHANGE when others keep winning.
 */
export interface ApiKeys {
  /** Not deleted ones, newest first. Without an account the caller's own. @throws DomainError also invalid_argument. */
  list(caller: Caller, request: ListRequest, accountId?: string): Promise<ApiKeyPage>;
  /** Absent settings get their defaults. @throws DomainError also invalid_argument. */
  create(caller: Caller, settings: ApiKeyChange, accountId?: string): Promise<IssuedApiKey>;
  /** Deleted keys too, for the 30 days in which they can be restored. */
  get(caller: Caller, id: string): Promise<RevealedApiKey>;
  /** @throws DomainError also invalid_argument. */
  update(caller: Caller, id: string, change: ApiKeyChange, etag?: string): Promise<RevealedApiKey>;
  /** A key that is deleted already is not found. */
  delete(caller: Caller, id: string, etag?: string): Promise<RevealedApiKey>;
  /** Restores a key that was deleted less than 30 days ago; changes nothing on one that is not deleted. */
  undelete(caller: Caller, id: string): Promise<RevealedApiKey>;
  /**
   * Gives a key a new token. Of its older ones, only the one replaced now lives on for the grace period; one that can't
   * be decrypted, and so not be sealed as the previous one either, is refused at once.
   */
  rotate(caller: Caller, id: string, options?: RotateOptions): Promise<IssuedApiKey>;
}

export interface ApiKeysOptions {
  readonly unitOfWork: UnitOfWork;
  readonly store: Pick<ApiKeyStore, "read" | "list" | "count">;
  readonly vault: Vault;
  readonly cursors: Cursors;
  readonly clock: Clock;
  /** Told of the tokens that a call could not decrypt, of all its keys at once. */
  readonly onUnreadable?: (errors: readonly VaultError[]) => void;
}

const RESTORABLE_MS = 30 * 86_400_000;
const DEFAULT_GRACE_SECONDS = 86_400;

export function createApiKeys(options: ApiKeysOptions): ApiKeys {
  const { unitOfWork, store, vault, cursors, clock, onUnreadable } = options;

  /** A row that was damaged, or whose encryption key is lost, takes neither its neighbours along nor its own deletion. */
  function open({ id, current }: ApiKey, report: (error: VaultError) => void): string | undefined {
    try {
      return vault.open(current, { apiKeyId: id, role: "current" });
    } catch (error) {
      if (!(error instanceof VaultError)) throw error;
      report(error);
      return undefined;
    }
  }

  const reportOne = (error: VaultError): void => onUnreadable?.([error]);

  function reveal(key: ApiKey, report = reportOne): RevealedApiKey {
    return show(key, open(key, report));
  }

  function revealAll(keys: readonly ApiKey[]): RevealedApiKey[] {
    const errors: VaultError[] = [];
    const revealed = keys.map((key) => reveal(key, (error) => void errors.push(error)));
    if (errors.length > 0) onUnreadable?.(errors);
    return revealed;
  }

  function show<Token>(key: ApiKey, token: Token) {
    const rotating = key.previous !== undefined && key.previous.expireTime > clock();
    return { key: rotating ? key : { ...key, previous: undefined }, token, etag: etagOf(key) };
  }

  async function find(store: Pick<ApiKeyStore, "read">, scope: ManagementScope, id: string): Promise<ApiKey> {
    const key = isUuid(id) ? await store.read(canonicalUuid(id)) : undefined;
    const gone = key?.deleted !== undefined && clock().getTime() - key.deleted.getTime() >= RESTORABLE_MS;
    if (key === undefined || gone || !manages(scope, key.accountId)) throw notFound("API key");
    return key;
  }

  /** @param apply makes the key that is to be written of the one that is there, or returns that, if there is nothing to change. */
  async function change(
    caller: Caller,
    id: string,
    { etag, mayBeDeleted = false }: { readonly etag?: string | undefined; readonly mayBeDeleted?: boolean },
    apply: (key: ApiKey, now: Date, transaction: Transaction) => ApiKey | Promise<ApiKey>,
  ): Promise<ApiKey> {
    const scope = requireManager(caller);
    return unitOfWork.write(async (transaction) => {
      const key = await find(transaction.apiKeys, scope, id);
      if (key.deleted !== undefined && !mayBeDeleted) throw notFound("API key");
      requireCurrent(etag, key, "API key");
      const now = clock();
      const applied = await apply(key, now, transaction);
      if (applied === key) return key;
      const next = { ...applied, changed: now, revision: key.revision + 1 };
      await transaction.apiKeys.replace(next, key);
      return next;
    });
  }

  return {
    async list(caller, request, requestedAccountId) {
      const accountId = managedAccount(requireManager(caller), requestedAccountId);
      const listing = { of: "api_keys", accountId } as const;
      const [{ items, cursor }, totalCount] = await Promise.all([
        readPage(cursors, listing, request, (page) => store.list(accountId, page)),
        store.count(accountId),
      ]);
      return { items: revealAll(items), cursor, totalCount };
    },

    async create(caller, settings, requestedAccountId) {
      const scope = requireManager(caller);
      const accountId = managedAccount(scope, requestedAccountId);
      const id = randomUUID();
      const now = clock();
      const token = generateSecret("tgk_");
      const current = vault.seal(token, { apiKeyId: id, role: "current" });
      const blank = { ...DEFAULT_SETTINGS, id, accountId, current, created: now, changed: now, revision: 1 };
      const key = changeSettings(blank, settings);
      await unitOfWork.write(async (transaction) => {
        await requireValidChange(key, settings, [], { datasets: transaction.datasets, now });
        await requireAccount(transaction.accounts, accountId);
        await transaction.apiKeys.insert(key);
      });
      return show(key, token);
    },

    async get(caller, id) {
      return reveal(await find(store, requireManager(caller), id));
    },

    async update(caller, id, settings, etag) {
      const changed = await change(caller, id, { etag }, async (key, now, { datasets }) => {
        const next = changeSettings(key, settings);
        await requireValidChange(next, settings, key.datasetIds, { datasets, now });
        return { ...next, previous: clampGrace(next.previous, next) };
      });
      return reveal(changed);
    },

    async delete(caller, id, etag) {
      return reveal(await change(caller, id, { etag }, (key, now) => ({ ...key, deleted: now })));
    },

    async undelete(caller, id) {
      const restored = await change(caller, id, { mayBeDeleted: true }, (key) =>
        key.deleted === undefined ? key : { ...key, deleted: undefined },
      );
      return reveal(restored);
    },

    async rotate(caller, id, { gracePeriodSeconds = DEFAULT_GRACE_SECONDS, etag } = {}) {
      const token = generateSecret("tgk_");
      const rotated = await change(caller, id, { etag }, (key, now) => {
        const replaced = gracePeriodSeconds > 0 ? open(key, reportOne) : undefined;
        const previous =
          replaced === undefined
            ? undefined
            : {
                ...vault.seal(replaced, { apiKeyId: key.id, role: "previous" }),
                expireTime: new Date(now.getTime() + gracePeriodSeconds * 1000),
              };
        const current = vault.seal(token, { apiKeyId: key.id, role: "current" });
        return { ...key, current, previous: clampGrace(previous, key) };
      });
      return show(rotated, token);
    },
  };
}

/** A previous token never outlives the key. */
function clampGrace(previous: ApiKey["previous"], { expireTime }: ApiKey): ApiKey["previous"] {
  if (previous === undefined || expireTime === undefined || previous.expireTime <= expireTime)
    return previous;
  return { ...previous, expireTime };
}
