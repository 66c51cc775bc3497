import type {
  Dataset,
  DatasetCache,
  DatasetStore,
  DatasetTransaction,
  RasterTiles,
} from "../../domain/datasets/dataset.js";
import { bytesOfDataset } from "../../domain/datasets/dataset-bytes.js";
import { DomainError } from "../../domain/errors.js";
import { REMEMBERED_MS } from "../../domain/second-memo.js";
import { type CachedEntity, MIB, type Written } from "./entity.js";
import { codecOf, fourNumbers, number, oneOf, optional, record, text, texts, time } from "./fields.js";
import { DECOY_SUFFIX, isDecoy } from "./versioned-cache.js";

/** By its id. A deleted one is no value. */
export const datasetEntity: CachedEntity<
  Dataset,
  Pick<DatasetStore, "readMany">,
  DatasetCache,
  DatasetTransaction
> = {
  name: "dataset",

  // With their tokens they are most of a busy process's memory, and the maps of a platform show far fewer than 5,000 at a
  // time; so many usual ones fit, 4 kB each. The rest is Redis' or one statement away.
  maxEntries: 5_000,
  maxBytes: 24 * MIB,
  bytesOf: bytesOfDataset,
  rememberedMs: REMEMBERED_MS,

  codec: codecOf<Omit<Dataset, "deleted">>({
    id: text,
    accountId: text,
    kind: oneOf("vector", "raster"),
    title: text,
    tableName: optional(text),
    scope: text,
    visibility: oneOf("public", "restricted", "private"),
    status: oneOf("draft", "published"),
    owner: optional(text),
    readerRoles: texts,
    readerSubjects: texts,
    raster: record<RasterTiles>({
      tileUrlTemplate: optional(text),
      bounds: optional(fourNumbers),
      minzoom: number,
      maxzoom: number,
      tileSize: number,
      format: text,
    }),
    cacheVersion: number,
    revokedUntilExp: optional(number),
    revision: number,
    created: time,
    changed: time,
  }),

  load: (truth) => async (keys) => {
    // Another id in the place of a decoy, of which nothing is used: the database does the same work for it. The same each time, as
    // for who asks for nobody's again: a random one costs the index 5 µs more.
    const ids = keys.map((key) => (isDecoy(key) ? neighbourOf(key) : key));
    const found = await truth.readMany(ids);
    return new Map([...found].map(([id, value]) => [id, { value, revision: value.revision }]));
  },

  lookUps: (cache) => ({
    async lookUp(ids, mayKnow) {
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
    known: (id) => cache.peek(id),
  }),

  noting: (writes, note) => followSaved(writes, (dataset) => note(dataset.id, writtenOf(dataset))),
};

/** `writes`, of which `onSaved` hears every dataset that they saved. */
export const followSaved = (
  writes: DatasetTransaction,
  onSaved: (dataset: Dataset) => void,
): DatasetTransaction => ({
  ...writes,
  async save(datasets) {
    await writes.save(datasets);
    datasets.forEach(onSaved);
  },
  async saveOver(datasets, lay, onProgress) {
    const saved: Dataset[] = [];
    const layAndKeep: typeof lay = (...laying) => {
      const laid = lay(...laying);
      saved.push(laid);
      return laid;
    };
    await writes.saveOver(datasets, layAndKeep, onProgress);
    saved.forEach(onSaved);
  },
});

const writtenOf = (dataset: Dataset): Written<Dataset> => ({
  revision: dataset.revision,
  value: dataset.deleted === undefined ? dataset : undefined,
});

/** The id of a decoy with another last digit. */
function neighbourOf(decoy: string): string {
  const last = decoy.length - DECOY_SUFFIX.length - 1;
  return decoy.slice(0, last) + (decoy[last] === "0" ? "1" : "0");
}
