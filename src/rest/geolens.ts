import { z } from "zod";
import type { Clock } from "../domain/clock.js";
import type {
  RasterTileToken,
  TileTokenBatch,
  TileTokenOutcome,
  TileTokens,
} from "../domain/tile-tokens/tile-tokens.js";
import { canonicalUuid, isUuid } from "../domain/uuid.js";
import { CROSS_ORIGIN } from "../front/answer-headers.js";
import type { AnswerMemo } from "../front/answer-memo.js";
import { BatchGetTileTokensRequestSchema } from "../gen/proto/tilegate/v1/tile_token_service_pb.js";
import { createEntriesEncoder, jsonEntries } from "../schema/entries.js";
import type { IdReader } from "../schema/id-reader.js";
import { listLimits } from "../schema/validate.js";
import { missing, notAList, notAnObject, notAUuid, tooLong, tooShort, unprocessable } from "./pydantic.js";
import { JsonText, type RestRoute } from "./route.js";

const IDS = ["body", "dataset_ids"];

const LIMITS = listLimits(BatchGetTileTokensRequestSchema.field.datasetIds);

const signed = { sig: z.string(), exp: z.int(), scope: z.string(), expires_in: z.int() };

const token = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("vector"), ...signed }),
  z.strictObject({
    kind: z.literal("raster"),
    tile_url: z.string(),
    ...signed,
    bounds: z.array(z.number()).length(4).nullable(),
    minzoom: z.int(),
    maxzoom: z.int(),
    tile_size: z.int(),
    format: z.string(),
  }),
]);

const batchRequest = z.object({ dataset_ids: z.array(z.uuid()).min(LIMITS.min).max(LIMITS.max) });

const batchResponse = z.strictObject({
  tokens: z.record(z.uuid(), z.union([token, z.strictObject({ error: z.string() })])),
});

/** GeoLens' own, without its last slash, and both without the prefix. */
const paths = (path: string) => ({ path: `/api${path}/`, aliases: [`/api${path}`, `${path}/`, path] });

export interface GeoLensOptions {
  readonly tileTokens: TileTokens;
  readonly idReader: IdReader;
  /** Of the batch. */
  readonly answers: AnswerMemo;
  readonly clock: Clock;
}

/** Whose credentials resolve, or who sent none. */
const anybody = () => {};

/** GeoLens' tile token routes: its paths, shapes and 422 bodies, so that its clients work unchanged. */
export function createGeoLensRoutes({ tileTokens, idReader, answers, clock }: GeoLensOptions): RestRoute[] {
  const usualIds = idReader.listOfJson("dataset_ids");
  const encode = createEntriesEncoder(jsonEntries(toJson), ({ kind }) => kind === "error");
  return [
    {
      name: "geolens.batch_tokens",
      method: "POST",
      ...paths("/tiles/tokens"),
      policy: CROSS_ORIGIN,
      permit: anybody,
      isUsuallyAtOnce: true,
      request: batchRequest,
      response: batchResponse,
      handle({ caller, body, json, beforeWaiting }) {
        const now = clock();
        const recalled = answers.recall(body, now);
        if (recalled !== undefined) return new JsonText(recalled);
        const answered = ({ ids, outcomes, isForEverybody }: TileTokenBatch) => {
          const text = encode(ids, outcomes);
          if (isForEverybody) answers.remember(body, text, now);
          return new JsonText(text);
        };
        const ids = usualIds(body);
        const isUsual = ids !== undefined && ids.length <= LIMITS.max;
        const batch = tileTokens.batch(caller, isUsual ? ids : parseBatch(json()), beforeWaiting);
        return batch instanceof Promise ? batch.then(answered) : answered(batch);
      },
    },
    {
      name: "geolens.token",
      method: "GET",
      ...paths("/tiles/token/{dataset_id}"),
      policy: CROSS_ORIGIN,
      permit: anybody,
      response: token,
      async handle({ caller, params: { dataset_id = "" } }) {
        if (!isUuid(dataset_id)) throw unprocessable([notAUuid(["path", "dataset_id"], dataset_id)]);
        return toJson((await tileTokens.get(caller, canonicalUuid(dataset_id))).token);
      },
    },
  ];
}

/** The rules are the schema's, as for RPCs; only how they are reported is GeoLens'. */
function parseBatch(body: unknown): string[] {
  if (body === undefined) throw unprocessable([missing(["body"], null)]);
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw unprocessable([notAnObject(["body"], body)]);
  }
  if (!("dataset_ids" in body)) throw unprocessable([missing(IDS, body)]);
  const ids: unknown = body.dataset_ids;
  if (!Array.isArray(ids)) throw unprocessable([notAList(IDS, ids)]);

  if (ids.length < LIMITS.min) throw unprocessable([tooShort(IDS, ids, LIMITS.min)]);
  if (ids.length > LIMITS.max) throw unprocessable([tooLong(IDS, ids, LIMITS.max)]);
  const malformed = ids.flatMap((id, index) =>
    typeof id === "string" && isUuid(id) ? [] : [notAUuid([...IDS, index], id)],
  );
  if (malformed.length > 0) throw unprocessable(malformed);
  return ids.map(canonicalUuid);
}

/** How an outcome travels: exactly GeoLens' fields. */
function toJson(outcome: TileTokenOutcome) {
  switch (outcome.kind) {
    case "error":
      return { error: outcome.message };
    case "vector": {
      const { kind, sig, exp, scope, expiresIn: expires_in } = outcome;
      return { kind, sig, exp, scope, expires_in };
    }
    case "raster":
      return rasterToJson(outcome);
  }
}

const rasterToJson = (token: RasterTileToken) => ({
  kind: token.kind,
  tile_url: token.tileUrl,
  sig: token.sig,
  exp: token.exp,
  scope: token.scope,
  expires_in: token.expiresIn,
  bounds: token.bounds ?? null,
  minzoom: token.minzoom,
  maxzoom: token.maxzoom,
  tile_size: token.tileSize,
  format: token.format,
});
