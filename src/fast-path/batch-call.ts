import { decideAccess, isOpen, type ProtectedDataset } from "../domain/access/access.js";
import { refusalOf, type TileTokens } from "../domain/tokens/tile-tokens.js";
import { isCanonicalUuid } from "../domain/uuid.js";
import { binaryEncoding, type Encoding, geoLensEncoding, jsonEncoding } from "./encodings.js";
import type { HotCall, Question } from "./hot-call.js";
import { fieldOfJson, idsOfProto } from "./requests.js";
import { createSecondMemo, type SecondMemoOptions } from "./second-memo.js";

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

/** Datasets that are asked for in one second: as many as the process knows at a time. */
const MAX_DATASETS = 10_000;

/** What stands in an answer for a dataset, in this second. */
interface Known {
  readonly dataset: ProtectedDataset;
  /** Of its token, for those who may have it. */
  readonly entry: string;
  /** The last batch that it was in. */
  batch: number;
}

function createBatches(encoding: Encoding, { tileTokens, generation }: BatchCallOptions) {
  const knownAt = createSecondMemo<string, Known>({ generation, maxEntries: MAX_DATASETS });
  let batch = 0;

  function learn(known: Map<string, Known>, id: string): Known | undefined {
    const prepared = tileTokens.peek(id);
    if (prepared === undefined) return undefined;
    const { dataset, token } = prepared;
    const learnt = { dataset, entry: encoding.entryOf(id, token), batch: 0 };
    known.set(id, learnt);
    return learnt;
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
          isForAll &&= isOpen(one.dataset);
          const decision = decideAccess(one.dataset, caller);
          entries.push(decision === "granted" ? one.entry : encoding.entryOf(id, refusalOf(decision)));
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
