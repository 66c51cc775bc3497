import { randomUUID } from "node:crypto";
import type { Clock } from "../../domain/clock.js";
import type { Dataset, DatasetCache, DatasetStore } from "../../domain/datasets/dataset.js";
import { DomainError } from "../../domain/errors.js";
import { isDecoy, type Load, type VersionedCache } from "./versioned-cache.js";

export const loadDatasets =
  (store: Pick<DatasetStore, "findMany">): Load<Dataset> =>
  async (keys) => {
    // Nobody's id in the place of a decoy: the database does the same work for it.
    const ids = keys.map((key) => (isDecoy(key) ? randomUUID() : key));
    return new Map(
      [...(await store.findMany(ids))].map(([id, value]) => [id, { value, revision: value.revision }]),
    );
  };

/** `store` with `cache` in front of its look-ups, told of every commit that goes through it. */
export function createCachedDatasetStore(
  store: DatasetStore,
  cache: VersionedCache<Dataset>,
  clock: Clock,
): DatasetStore & DatasetCache {
  return {
    ...store,

    async tryFindMany(ids, mayKnow) {
      const entries = await cache.getMany(ids, mayKnow).catch((error: unknown) => {
        if (error instanceof DomainError && error.kind === "unavailable") return undefined;
        throw error;
      });
      const found = new Map<string, Dataset | null>();
      for (const id of ids) {
        const entry = entries?.get(id);
        if (entry === undefined) found.set(id, null);
        else if (entry.value !== undefined) found.set(id, entry.value);
      }
      return found;
    },

    peek: (id) => cache.peek(id),

    async transaction(work) {
      let saved: Dataset[] = [];
      const result = await store.transaction((transaction) => {
        saved = [];
        return work({
          ...transaction,
          async save(datasets) {
            await transaction.save(datasets);
            saved.push(...datasets);
          },
        });
      });
      const readAt = clock().getTime();
      await cache.announce(
        new Map(
          saved.map((dataset) => [
            dataset.id,
            { revision: dataset.revision, value: dataset.deleted ? undefined : dataset, readAt },
          ]),
        ),
      );
      return result;
    },
  };
}
