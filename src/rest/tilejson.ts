import { z } from "zod";
import type { Bounds, Dataset, DatasetCache } from "../domain/datasets/dataset.js";
import { DomainError, invalid, unavailable } from "../domain/errors.js";
import type { Caller } from "../domain/identity/principal.js";
import type { SingleTileToken, TileToken, TileTokens } from "../domain/tile-tokens/tile-tokens.js";
import {
  rasterTemplateOf,
  signedQuery,
  type VectorTiles,
  withQuery,
} from "../domain/tile-tokens/tile-url.js";
import { canonicalUuid, isUuid } from "../domain/uuid.js";
import { type Caching, CREDENTIAL_HEADERS, CROSS_ORIGIN } from "../front/answer-headers.js";
import { baseUrlOf } from "../front/base-url.js";
import type { ClientAddresses } from "../front/client-address.js";
import type { HttpRequest } from "../server/http-handler.js";
import { HttpError } from "./problem.js";
import { KeptJson, type RestRoute } from "./route.js";

const tileJson = z.strictObject({
  tilejson: z.literal("3.0.0"),
  name: z.string().optional(),
  scheme: z.literal("xyz"),
  tiles: z.array(z.string()).length(1),
  vector_layers: z
    .array(z.strictObject({ id: z.string(), fields: z.strictObject({}) }))
    .length(1)
    .optional(),
  minzoom: z.int().optional(),
  maxzoom: z.int().optional(),
  bounds: z.array(z.number()).length(4).optional(),
  tileSize: z.int().optional(),
});

export interface TileJsonOptions {
  readonly tileTokens: TileTokens;
  readonly datasets: DatasetCache;
  readonly vectorTiles: VectorTiles;
  readonly addresses: Pick<ClientAddresses, "isFromProxy">;
  /** In front of tiles' paths. Absent: as the client reached this server. */
  readonly tileBaseUrl: string | undefined;
}

/** Clients ask again this soon, and get to know of what has changed; and well before a token in it ends. */
const MAX_AGE_SECONDS = 60;
const SHARE_OF_LIFE = 0.8;

/** Whose credentials resolve, or who sent none. */
const anybody = () => {};

/** TileJSON 3.0.0 of a dataset, with tile URLs that open for whoever asked: one URL to give to a map. */
export function createTileJsonRoutes(options: TileJsonOptions): RestRoute[] {
  const { tileTokens, datasets, vectorTiles, addresses, tileBaseUrl } = options;

  /** That the caller may see. */
  function find(id: string, beforeWaiting: () => void): Dataset | Promise<Dataset> {
    const known = datasets.known(id);
    if (known !== undefined) return known;
    beforeWaiting();
    return datasets.lookUp([id], () => true).then((found) => there(found.get(id)));
  }

  const templateOf = (dataset: Dataset): string =>
    dataset.kind === "vector" ? vectorTiles.templateOf(dataset) : rasterTemplateOf(dataset);

  const signed = (dataset: Dataset, token: TileToken): string =>
    token.kind === "raster" ? token.tileUrl : withQuery(templateOf(dataset), signedQuery(token));

  function withKey(dataset: Dataset, key: string): string {
    const version = dataset.kind === "raster" ? `&v=${dataset.cacheVersion}` : "";
    return withQuery(templateOf(dataset), `key=${encodeURIComponent(key)}${version}`);
  }

  function describe(dataset: Dataset, tiles: string): z.infer<typeof tileJson> {
    const { kind, title, raster } = dataset;
    const common = {
      tilejson: "3.0.0" as const,
      ...(title && { name: title }),
      scheme: "xyz" as const,
      tiles: [tiles],
    };
    if (kind === "vector")
      return { ...common, vector_layers: [{ id: vectorTiles.layerOf(dataset), fields: {} }] };
    const { minzoom, maxzoom, bounds, tileSize } = raster;
    // No field of the standard's, but MapLibre reads it.
    return { ...common, minzoom, maxzoom, ...(bounds && { bounds: unwrapped(bounds) }), tileSize };
  }

  return [
    {
      name: "tilejson",
      method: "GET",
      path: "/tilejson/{dataset_id}.json",
      policy: CROSS_ORIGIN,
      permit: anybody,
      isUsuallyAtOnce: true,
      response: tileJson,
      handle({ caller, received, query, params: { dataset_id = "" }, beforeWaiting }) {
        const keyInTiles = keyForTiles(query, received, caller);
        const base = tileBaseUrl ?? baseUrlOf(received, addresses);
        if (base === undefined)
          throw new HttpError(400, "The request's host is malformed, or its proxy's word on it");
        if (!isUuid(dataset_id)) throw noDataset();
        const id = canonicalUuid(dataset_id);
        // Templates that carry the key open only what the key itself does.
        const reader = keyInTiles === undefined ? caller : caller.filter(({ type }) => type === "api_key");

        const answerOf = (dataset: Dataset, { token, isPublic }: SingleTileToken): KeptJson => {
          const tiles = keyInTiles === undefined ? signed(dataset, token) : withKey(dataset, keyInTiles);
          const body = Buffer.from(
            JSON.stringify(describe(dataset, tiles.startsWith("/") ? base + tiles : tiles)),
          );
          // What was made of the client's word on where it is, is no other's to get.
          const isAnybodys = isPublic && caller.length === 0 && tileBaseUrl !== undefined;
          return new KeptJson(body, cachingOf(token, isAnybodys));
        };
        const granted = (answer: SingleTileToken): KeptJson | Promise<KeptJson> => {
          const dataset = find(id, beforeWaiting);
          if (!(dataset instanceof Promise)) return answerOf(dataset, answer);
          return dataset.then((found) => answerOf(found, answer));
        };
        const answer = tileTokens.get(reader, id, beforeWaiting);
        return answer instanceof Promise ? answer.then(granted) : granted(answer);
      },
    },
  ];
}

/** Undefined unless tiles are to be asked for with the key, as `?tiles=key` says. @throws DomainError for what can't be. */
function keyForTiles(query: URLSearchParams, { headers }: HttpRequest, caller: Caller): string | undefined {
  const [asked = "token", ...more] = query.getAll("tiles");
  if ((asked !== "token" && asked !== "key") || more.length > 0) {
    throw invalid("tiles", "must be token or key, once");
  }
  if (asked === "token") return undefined;
  const key = headers["x-api-key"] ?? query.get("key");
  if (typeof key === "string" && caller.some(({ type }) => type === "api_key")) return key;
  throw invalid("tiles", "can be key only for who sends an API key");
}

/** Where they cross the antimeridian, all around: the standard knows none that wrap. */
const unwrapped = ([west, south, east, north]: Bounds): number[] =>
  west <= east ? [west, south, east, north] : [-180, south, 180, north];

function cachingOf({ expiresIn }: TileToken, isAnybodys: boolean): Caching {
  const maxAge = Math.min(MAX_AGE_SECONDS, Math.floor(expiresIn * SHARE_OF_LIFE));
  return { control: `${isAnybodys ? "public" : "private"}, max-age=${maxAge}`, vary: CREDENTIAL_HEADERS };
}

const noDataset = () => new DomainError("not_found", "DATASET_NOT_FOUND", "Dataset not found");

/** Deleted meanwhile, or not to be told. */
function there(dataset: Dataset | null | undefined): Dataset {
  if (dataset === null) throw unavailable("the database", new Error("the dataset can't be looked up"));
  if (dataset === undefined) throw noDataset();
  return dataset;
}
