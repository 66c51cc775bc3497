import type {
  ApiKey,
  ApiKeyCache,
  ApiKeyStore,
  ApiKeyTransaction,
} from "../../../src/domain/api-keys/api-key.js";
import { ConcurrentChangeError, DuplicateError } from "../../../src/domain/store.js";
import { retryLostRaces, type Transaction, type UnitOfWork } from "../../../src/domain/unit-of-work.js";

export interface MemoryApiKeyStore extends ApiKeyStore, ApiKeyCache, ApiKeyTransaction {
  /** How often a token was looked up. */
  readonly lookUps: number;
  /** How often a row was written. */
  readonly writes: number;
  /** Runs once, just before the next `replace`: what another writer does meanwhile. */
  beforeNextReplace: (() => Promise<unknown>) | undefined;
}

/** Keeps keys in the order of their insertion, which is their position. */
export function createMemoryApiKeyStore(): MemoryApiKeyStore {
  const rows: ApiKey[] = [];
  const same = (a: Uint8Array | undefined, b: Uint8Array) => a !== undefined && Buffer.compare(a, b) === 0;

  const store = {
    lookUps: 0,
    writes: 0,
    beforeNextReplace: undefined as (() => Promise<unknown>) | undefined,

    async insert(key: ApiKey) {
      for (const row of rows) {
        if (row.id === key.id) throw new DuplicateError("id");
        if (same(row.current.lookupHash, key.current.lookupHash)) throw new DuplicateError("current_hash");
      }
      store.writes++;
      rows.push(key);
    },

    async read(id: string) {
      return rows.find((row) => row.id === id);
    },

    async lookUp(hashes: readonly Uint8Array[]) {
      store.lookUps++;
      return store.readByTokenHash(hashes);
    },

    async readByTokenHash(hashes: readonly Uint8Array[]) {
      return rows.find((row) =>
        hashes.some((hash) => same(row.current.lookupHash, hash) || same(row.previous?.lookupHash, hash)),
      );
    },

    async list(accountId: string, { limit, before }: { limit: number; before?: bigint }) {
      const all = rows
        .map((row, index) => ({ row, position: BigInt(index) }))
        .filter(({ row }) => row.accountId === accountId && row.deleted === undefined)
        .filter(({ position }) => before === undefined || position < before)
        .reverse();
      const items = all.slice(0, limit);
      const next = all.length > limit ? items.at(-1)?.position : undefined;
      const totalCount = rows.filter(
        (row) => row.accountId === accountId && row.deleted === undefined,
      ).length;
      return { items: items.map(({ row }) => row), ...(next === undefined ? {} : { next }), totalCount };
    },

    async listAll({ limit, after = "" }: { limit: number; after?: string | undefined }) {
      return rows
        .filter(({ id }) => id > after)
        .sort((a, b) => (a.id < b.id ? -1 : 1))
        .slice(0, limit);
    },

    async replace(key: ApiKey, former: ApiKey) {
      const meanwhile = store.beforeNextReplace;
      store.beforeNextReplace = undefined;
      await meanwhile?.();
      const index = rows.findIndex((row) => row.id === former.id && row.revision === former.revision);
      const stored = rows[index];
      if (stored === undefined) throw new ConcurrentChangeError("it changed meanwhile");
      store.writes++;
      rows[index] = { ...key, lastUsed: stored.lastUsed };
    },
  };
  return store;
}

/** Undoes nothing, so `work` must write last. Of the stores there are those that are given. */
export function createMemoryUnitOfWork(stores: Partial<Transaction>): UnitOfWork {
  const refuse = (): never => {
    throw new Error("this store is not there");
  };
  const absent = {
    read: refuse,
    readSole: refuse,
    readMany: refuse,
    insert: refuse,
    revoke: refuse,
    replace: refuse,
  };
  const none = { ...absent, save: refuse, saveOver: refuse };
  const transaction = { accounts: none, serviceTokens: none, apiKeys: none, datasets: none, ...stores };
  return { write: (work) => retryLostRaces(() => work(transaction)) };
}
