import { decideAccess, isOpen } from "../domain/access/access.js";
import { bytesOfDataset } from "../domain/datasets/dataset-bytes.js";
import type { Caller } from "../domain/identity/principal.js";
import { type KnownDataset, refusalOf, type TileTokens } from "../domain/tokens/tile-tokens.js";
import { isCanonicalUuid } from "../domain/uuid.js";
import { createSecondMemo, type SecondMemo, type SecondMemoOptions } from "../front/second-memo.js";
import { binaryEncoding, type Encoding, geoLensEncoding, jsonEncoding } from "./encodings.js";
import type { HotCall, Question } from "./hot-call.js";
import { fieldOfJson, idsOfProto } from "./requests.js";

export interface BatchCallOptions extends Pick<SecondMemoOptions, "generation"> {
  readonly tileTokens: TileTokens;
}

const anybody = () => {};

/** BatchGetTileTokens. */
export function createBatchCall(options: BatchCallOptions): HotCall {
  const json = createBatches(jsonEncoding(), options);
  const binary = createBatches(binaryEncoding(), options);
  return {
    permit: anybody,
    read: (form, message) =>
      form === "json" ? json(idsOfJson(message, "dataset_ids", "datasetIds")) : binary(idsOfProto(message)),
  };
}

/** GeoLens' batch. */
export function createGeoLensCall(options: BatchCallOptions): HotCall {
  const batches = createBatches(geoLensEncoding(), options);
  return { permit: anybody, read: (_form, message) => batches(idsOfJson(message, "dataset_ids")) };
}

const MAX_IDS = 50;

/** In each of the three formats: the entries of 5,000 usual datasets that everybody may see, as many as the process knows. */
const MAX_BYTES = 2.5 * 1024 * 1024;
const MAX_DATASETS = 5_000;

/** Of an entry without its text, by measuring 5,000 of them. */
const ENTRY_BYTES = 180;

/** What stands in an answer for a dataset, in this second. */
interface Known {
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
  const knownAt = createSecondMemo<string, Known>({
    generation,
    maxEntries: MAX_DATASETS,
    maxBytes: MAX_BYTES,
    sizeOf: (_id, known) => sizeOf(known),
  });
  let batch = 0;

  function learn(known: SecondMemo<string, Known>, id: string): Known | undefined {
    const found = tileTokens.peek(id);
    if (found === undefined) return undefined;
    const learnt: Known = isOpen(found.dataset)
      ? { guarded: undefined, entry: encoding.entryOf(id, found.token()), batch: 0 }
      : { guarded: found, entry: undefined, batch: 0 };
    known.set(id, learnt);
    // Undefined when there is no room for it: it would not be noticed if it were asked for twice.
    return known.get(id);
  }

  /** Undefined: who asks may not know of it, and must wait as long as for what isn't there. */
  function entryFor(caller: Caller, id: string, { dataset, token }: KnownDataset, known: Known) {
    const decision = decideAccess(dataset, caller);
    if (decision === "not_found") return undefined;
    if (decision !== "granted") return encoding.entryOf(id, refusalOf(decision));
    known.entry ??= encoding.entryOf(id, token());
    return known.entry;
  }

  return (ids: readonly string[] | undefined): Question | undefined => {
    if (ids === undefined || ids.length === 0 || ids.length > MAX_IDS) return undefined;
    return {
      answerNow(caller, now) {
        const known = knownAt(now);
        batch += 1;
        const entries: string[] = [];
        let isForAll = true;
        for (const id of ids) {
          const one = known.get(id) ?? learn(known, id);
          // Unknown, or asked for twice.
          if (one === undefined || one.batch === batch) return undefined;
          one.batch = batch;
          isForAll &&= one.guarded === undefined;
          const entry = one.guarded === undefined ? one.entry : entryFor(caller, id, one.guarded, one);
          if (entry === undefined) return undefined;
          entries.push(entry);
        }
        return { message: encoding.join(entries), isForAll };
      },
      // An id in another form is answered under this one, or refused.
      isAnswerable: () => ids.every(isCanonicalUuid),
      async answer(caller) {
        const outcomes = await tileTokens.batch(caller, ids);
        const entries = Array.from(outcomes, ([id, outcome]) => encoding.entryOf(id, outcome));
        return { message: encoding.join(entries), isForAll: false };
      },
    };
  };
}

function idsOfJson(message: Buffer, ...names: string[]): readonly string[] | undefined {
  const ids = fieldOfJson(message, ...names);
  return Array.isArray(ids) && ids.every((id) => typeof id === "string") ? ids : undefined;
}
