import type { DatasetStore, DatasetTransaction, ScopeCache } from "../../domain/datasets/dataset.js";
import { followSaved } from "./dataset.js";
import { type CachedEntity, MIB } from "./entity.js";
import { codecOf, text } from "./fields.js";

/** Which dataset a scope is of: its id. */
interface ScopeOwner {
  readonly id: string;
}

/** An id. */
const OWNER_BYTES = 150;

/** By the scope. For ever: there is one revision. */
export const scopeEntity: CachedEntity<
  ScopeOwner,
  Pick<DatasetStore, "readIdByScope">,
  ScopeCache,
  DatasetTransaction
> = {
  name: "scope",
  // As many as datasets.
  maxEntries: 5_000,
  maxBytes: 4 * MIB,
  bytesOf: () => OWNER_BYTES,
  rememberedMs: 0,

  codec: codecOf<ScopeOwner>({ id: text }),

  load:
    (truth) =>
    async ([scope = ""]) => {
      const id = await truth.readIdByScope(scope);
      return new Map(id === undefined ? [] : [[scope, { revision: 1, value: { id } }]]);
    },

  lookUps: (cache) => ({
    lookUp: async (scope) => (await cache.getMany([scope])).get(scope)?.value?.id,
    known: (scope) => cache.peek(scope)?.id,
  }),

  // Only new datasets bring a scope.
  noting: (writes, note) =>
    followSaved(writes, ({ id, scope, revision }) => {
      if (revision === 1) note(scope, { revision, value: { id } });
    }),
};
