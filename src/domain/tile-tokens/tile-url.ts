import type { Dataset } from "../datasets/dataset.js";

/** Where a dataset's tiles are: a path or an http(s) URL with literal {z}, {x} and {y}, not signed. */
export function tileTemplateOf({ id, kind, tableName, raster }: Dataset): string {
  if (kind === "vector") return `/tiles/${mvtLayerOf(tableName)}/{z}/{x}/{y}.pbf`;
  return raster.tileUrlTemplate ?? `/raster-tiles/${id}/tiles/{z}/{x}/{y}.png`;
}

/** The layer in a vector dataset's tiles, as GeoLens names it. */
export const mvtLayerOf = (tableName: string | undefined): string => `data.${tableName}`;

/** As a tile's query, in this order. */
export const signedQuery = (token: { sig: string; exp: number; scope: string }): string =>
  `sig=${token.sig}&exp=${token.exp}&scope=${encodeURIComponent(token.scope)}`;

/** @param template May have a query of its own. */
export const withQuery = (template: string, query: string): string =>
  `${template}${template.includes("?") ? "&" : "?"}${query}`;
