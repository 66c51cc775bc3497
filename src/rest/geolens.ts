import type {
  RasterTileToken,
  TileToken,
  TileTokenRefusal,
  TileTokens,
} from "../domain/tile-tokens/tile-tokens.js";
import { canonicalUuid, isUuid } from "../domain/uuid.js";
import { BatchGetTileTokensRequestSchema } from "../gen/proto/tilegate/v1/tile_token_service_pb.js";
import { listLimits } from "../schema/validate.js";
import { missing, notAList, notAnObject, notAUuid, tooLong, tooShort, unprocessable } from "./pydantic.js";
import type { Route } from "./router.js";

const IDS = ["body", "dataset_ids"];

/** GeoLens' own first. */
export const GEOLENS_BATCH_PATHS = [
  "/api/tiles/tokens/",
  "/api/tiles/tokens",
  "/tiles/tokens/",
  "/tiles/tokens",
];
const BATCH_PATH = new RegExp(`^(?:${GEOLENS_BATCH_PATHS.join("|")})$`);

/** Whose credentials resolve, or who sent none. */
const anybody = () => {};

/** GeoLens' tile token routes: its paths, shapes and 422 bodies, so that its clients work unchanged. */
export function createGeoLensRoutes(tileTokens: TileTokens): Route[] {
  return [
    {
      method: "POST",
      path: BATCH_PATH,
      permit: anybody,
      async handle({ caller, json }) {
        const ids = parseBatch(await json());
        const outcomes = await tileTokens.batch(await caller(), ids);
        return { tokens: Object.fromEntries([...outcomes].map(([id, outcome]) => [id, toJson(outcome)])) };
      },
    },
    {
      method: "GET",
      path: /^(?:\/api)?\/tiles\/token\/(?<dataset_id>[^/]+)\/?$/,
      permit: anybody,
      async handle({ caller, params: { dataset_id = "" } }) {
        if (!isUuid(dataset_id)) throw unprocessable([notAUuid(["path", "dataset_id"], dataset_id)]);
        return toJson(await tileTokens.get(await caller(), canonicalUuid(dataset_id)));
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

  const { min, max } = listLimits(BatchGetTileTokensRequestSchema.field.datasetIds);
  if (ids.length < min) throw unprocessable([tooShort(IDS, ids, min)]);
  if (ids.length > max) throw unprocessable([tooLong(IDS, ids, max)]);
  const malformed = ids.flatMap((id, index) =>
    typeof id === "string" && isUuid(id) ? [] : [notAUuid([...IDS, index], id)],
  );
  if (malformed.length > 0) throw unprocessable(malformed);
  return ids.map(canonicalUuid);
}

/** How an outcome travels: exactly GeoLens' fields. */
export function toJson(outcome: TileToken | TileTokenRefusal) {
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
