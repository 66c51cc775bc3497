import type { ApiKey, ApiKeyStore } from "../../domain/api-keys/api-key.js";
import type { Clock } from "../../domain/clock.js";
import { unavailable } from "../../domain/errors.js";
import type { Entry } from "./entry.js";
import type { Load, VersionedCache } from "./versioned-cache.js";

// A key is cached under each of its look-up hashes, in hexadecimal: that of its current token, and of the previous one.

const hex = (hash: Uint8Array): string => Buffer.from(hash).toString("hex");

const hashesOf = ({ current, previous }: ApiKey): string[] =>
  [current, ...(previous ? [previous] : [])].map(({ lookupHash }) => hex(lookupHash));

/** Loads the one key that a token's hashes can belong to. */
export const loadApiKey =
  (store: Pick<ApiKeyStore, "findByTokenHash">): Load<ApiKey> =>
  async (hashes) => {
    const key = await store.findByTokenHash(hashes.map((hash) => Buffer.from(hash, "hex")));
    if (key === undefined) return new Map();
    return new Map(hashesOf(key).map((hash) => [hash, { value: key, revision: key.revision }]));
  };

/** `store` with `cache` in front of the look-up by token, told of every write that goes through it. */
export function createCachedApiKeyStore<Store extends ApiKeyStore>(
  store: Store,
  cache: VersionedCache<ApiKey>,
  clock: Clock,
): Store {
  async function announce(key: ApiKey, formerHashes: readonly string[]): Promise<void> {
    const readAt = clock().getTime();
    const gone: Entry<ApiKey> = { revision: key.revision, value: undefined, readAt };
    const entries = new Map(formerHashes.map((hash) => [hash, gone]));
    for (const hash of hashesOf(key)) entries.set(hash, { ...gone, value: key });
    await cache.announce(entries);
  }

  return {
    ...store,

    async findByTokenHash(lookupHashes: readonly Uint8Array[]) {
      const hashes = lookupHashes.map(hex);
      const entries = await cache.getMany(hashes);
      const found = hashes.map((hash) => entries.get(hash)?.value).find((key) => key !== undefined);
      if (found === undefined && entries.size < new Set(hashes).size) {
        throw unavailable("the database", new Error("a part of the token's hashes can't be looked up"));
      }
      return found;
    },

    async insert(key: ApiKey) {
      await store.insert(key);
      await announce(key, []);
    },

    async replace(key: ApiKey, expectedRevision: number) {
      // If the write succeeds this was the state before it: revisions never come back.
      const former = await store.find(key.id);
      if (!(await store.replace(key, expectedRevision))) return false;
      await announce(key, former ? hashesOf(former) : []);
      return true;
    },
  };
}
