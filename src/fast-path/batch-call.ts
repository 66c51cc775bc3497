import { decideAccess, isOpen } from "../domain/access/access.js";
import { bytesOfDataset } from "../domain/datasets/dataset-bytes.js";
import type { Caller } from "../domain/identity/principal.js";
import { createSecondMemo, type SecondMemo, type SecondMemoOptions } from "../domain/second-memo.js";
import { type KnownDataset, refusalOf, type TileTokens } from "../domain/tile-tokens/tile-tokens.js";
import { isCanonicalUuid } from "../domain/uuid.js";
import { binaryEncoding, type Encoding, geoLensEncoding, jsonEncoding } from "./encodings.js";
import type { HotCall, Question } from "./hot-call.js";
import type { IdList, IdWords } from "./id-list.js";
import { createJsonIdsReader, idsOfProto } from "./requests.js";

export interface BatchCallOptions extends Pick<SecondMemoOptions, "generation"> {
  readonly tileTokens: TileTokens;
}

const anybody = () => {};

/** BatchGetTileTokens. */
export function createBatchCall(options: BatchCallOptions): HotCall {
  const json = createBatches(jsonEncoding(), options);
  const binary = createBatches(binaryEncoding(), options);
  const idsOfJson = createJsonIdsReader("datasetIds", "dataset_ids");
  return {
    permit: anybody,
    read: (form, message) => (form === "json" ? json(idsOfJson(message)) : binary(idsOfProto(message))),
  };
}

/** GeoLens' batch. */
export function createGeoLensCall(options: BatchCallOptions): HotCall {
  const batches = createBatches(geoLensEncoding(), options);
  const idsOfJson = createJsonIdsReader("dataset_ids");
  return { permit: anybody, read: (_form, message) => batches(idsOfJson(message)) };
}

const MAX_IDS = 50;

/** In each of the three formats: the entries of 5,000 usual datasets that everybody may see, as many as the process knows. */
const MAX_BYTES = 3 * 1024 * 1024;
const MAX_DATASETS = 5_000;

/** Of an entry without its text, by measuring 5,000 of them. */
const ENTRY_BYTES = 350;

/** What stands in an answer for a dataset, in this second. */
interface Known {
  readonly id: IdWords;
  /** Absent: everybody may have its token. */
  readonly guarded: KnownDataset | undefined;
  /** Of its token. Absent until somebody asks who may have it. */
  entry: string | undefined;
  /** The last batch that it was in. */
  batch: number;
}

/** A dataset that is guarded may have left all caches but this one. */
const sizeOf = ({ guarded, entry = "" }: Known): number =>
  ENTRY_BYTES + (guarded ? bytesOfDataset(guarded.dataset) : entry.length);

function createBatches(encoding: Encoding, { tileTokens, generation }: BatchCallOptions) {
  const knownAt = createSecondMemo<number, Known>({
    generation,
    maxEntries: MAX_DATASETS,
    maxBytes: MAX_BYTES,
    sizeOf: (_hash, known) => sizeOf(known),
  });
  let batch = 0;

  function learn(
    known: SecondMemo<number, Known>,
    hash: number,
    ids: IdList,
    index: number,
  ): Known | undefined {
    const found = tileTokens.peek(ids.textAt(index));
    if (found === undefined) return undefined;
    const { dataset } = found;
    const id = ids.wordsAt(index);
    const learnt: Known = isOpen(dataset)
      ? { id, guarded: undefined, entry: encoding.entryOf(dataset.id, found.token()), batch: 0 }
      : { id, guarded: found, entry: undefined, batch: 0 };
    known.set(hash, learnt);
    // Undefined when there is no room for it: it would not be noticed if it were asked for twice.
    return known.get(hash);
  }

  /** Undefined: who asks may not know of it, and must wait as long as for what isn't there. */
  function entryFor(caller: Caller, { dataset, token }: KnownDataset, known: Known) {
    const decision = decideAccess(dataset, caller);
    if (decision === "not_found") return undefined;
    if (decision !== "granted") return encoding.entryOf(dataset.id, refusalOf(decision));
    known.entry ??= encoding.entryOf(dataset.id, token());
    return known.entry;
  }

  return (ids: IdList | undefined): Question | undefined => {
    if (ids === undefined || ids.size > MAX_IDS) return undefined;
    return {
      answerNow(caller, now) {
        const known = knownAt(now);
        batch += 1;
        const entries: string[] = [];
        let isForAll = true;
        for (let index = 0; index < ids.size; index += 1) {
          const hash = ids.hashAt(index);
          const one = known.get(hash) ?? learn(known, hash, ids, index);
          // Unknown, another of the same hash, or asked for twice.
          if (one === undefined || !ids.isAt(index, one.id) || one.batch === batch) return undefined;
          one.batch = batch;
          isForAll &&= one.guarded === undefined;
          const entry = one.guarded === undefined ? one.entry : entryFor(caller, one.guarded, one);
          if (entry === undefined) return undefined;
          entries.push(entry);
        }
        return { message: encoding.join(entries), isForAll };
      },
      // An id in another form is answered under this one, or refused.
      isAnswerable: () => ids.texts().every(isCanonicalUuid),
      async answer(caller) {
        const outcomes = await tileTokens.batch(caller, ids.texts());
        const entries = Array.from(outcomes, ([id, outcome]) => encoding.entryOf(id, outcome));
        return { message: encoding.join(entries), isForAll: false };
      },
    };
  };
}
