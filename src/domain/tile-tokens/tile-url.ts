import { PRESET_TILES } from "#tile-paths";
import type { Dataset } from "../datasets/dataset.js";
import type { Tenancy } from "../datasets/scope.js";

// Where tiles are: templates are paths or http(s) URLs with literal {z}, {x} and {y}.

/** Not signed. */
export const rasterTemplateOf = ({ id, raster }: Dataset): string =>
  raster.tileUrlTemplate ?? `/raster-tiles/${id}/tiles/{z}/{x}/{y}.png`;

/** Vector datasets' tiles, where a tile server has them. */
export interface VectorTiles {
  /** Not signed. */
  templateOf(dataset: Dataset): string;
  /** The layer in them: tile servers call it what the path does. */
  layerOf(dataset: Dataset): string;
}

/** GeoLens' and the demo's, for an installation that has named none. */
const USUAL = "/tiles/data.{table}/{z}/{x}/{y}.pbf";

/**
 * @param tilePaths Presets and templates of TILE_PATHS. The first of whole tiles of a table is where they are; with several
 *   accounts, the first that names the account, since no other is opened by their tokens.
 */
export function createVectorTiles(tilePaths: readonly string[], tenancy: Tenancy): VectorTiles {
  const templates = tilePaths
    .map((item) => PRESET_TILES[item] ?? item)
    .map((template) => template.replace("{tables}", "{table}").replace("{ext}", "pbf"))
    .filter((template) => ["{table}", "{z}", "{x}", "{y}"].every((name) => template.includes(name)));
  const ofAccounts = tenancy === "multi" ? templates.find((each) => each.includes("{account}")) : undefined;
  const template = ofAccounts ?? templates[0] ?? USUAL;
  const layer = template.split("/").find((segment) => segment.includes("{table}")) ?? "{table}";
  const fill = (text: string, { tableName, accountId }: Dataset) =>
    text.replace("{table}", () => tableName ?? "").replace("{account}", accountId);
  return {
    templateOf: (dataset) => fill(template, dataset),
    layerOf: (dataset) => fill(layer, dataset),
  };
}

/** As a tile's query, in this order. */
export const signedQuery = (token: { sig: string; exp: number; scope: string }): string =>
  `sig=${token.sig}&exp=${token.exp}&scope=${encodeURIComponent(token.scope)}`;

/** @param template May have a query of its own. */
export const withQuery = (template: string, query: string): string =>
  `${template}${template.includes("?") ? "&" : "?"}${query}`;
