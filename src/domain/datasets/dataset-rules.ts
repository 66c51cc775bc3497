import { type DomainError, invalid } from "../errors.js";
import { parseUrl } from "../url.js";
import type { Bounds, Dataset, RasterTiles } from "./dataset.js";

/** A dataset as callers describe it. Absent means the default. Ids are canonical UUIDs. */
export interface DatasetInput {
  readonly id?: string;
  readonly accountId?: string;
  readonly kind: Dataset["kind"];
  readonly title: string;
  readonly tableName?: string;
  readonly visibility: Dataset["visibility"];
  readonly status?: Dataset["status"];
  readonly owner?: string;
  readonly readerRoles: readonly string[];
  readonly readerSubjects: readonly string[];
  readonly raster?: RasterInput;
  readonly cacheVersion?: number;
}

export type RasterInput = Partial<RasterTiles>;

/** What a caller may change once a dataset exists. A key that is present changes; undefined clears it. */
export type DatasetChange = Partial<
  Pick<
    DatasetInput,
    "title" | "visibility" | "status" | "owner" | "readerRoles" | "readerSubjects" | "raster" | "cacheVersion"
  >
>;

/** maxzoom as GeoLens assumes it for rasters whose resolution is unknown. */
const RASTER_DEFAULTS = { minzoom: 0, maxzoom: 18, tileSize: 256, format: "png" } as const;

const DEFAULT_CACHE_VERSION = 1;

/** Nobody sees by oversight what isn't ready. */
const DEFAULT_STATUS = "draft";

/** Query parameters that signing appends: a template's own would be read instead by some servers. */
const SIGNED_PARAMETERS = ["sig", "exp", "scope", "v"];

/** A dataset's settings with their defaults. @throws DomainError that names the field below `path`. */
export function settings(input: DatasetInput, path: string) {
  const { id: _, accountId: __, raster, ...given } = input;
  const { status = DEFAULT_STATUS, cacheVersion = DEFAULT_CACHE_VERSION } = input;
  if (input.kind === "vector" && input.tableName === undefined) {
    throw invalid(`${path}.table_name`, "is required for vector datasets");
  }
  if (input.kind === "raster" && input.tableName !== undefined) {
    throw invalid(`${path}.table_name`, "is for vector datasets only");
  }
  checkRasterOnly(input.kind, raster, path);
  return { ...given, status, cacheVersion, raster: rasterTiles(raster, `${path}.raster`) };
}

/** The dataset as `change` makes it. @throws DomainError that names the field. */
export function withChange(current: Dataset, change: DatasetChange): Dataset {
  checkRasterOnly(current.kind, change.raster, "dataset");
  return {
    ...current,
    ...change,
    raster: "raster" in change ? rasterTiles(change.raster, "dataset.raster") : current.raster,
    status: "status" in change ? (change.status ?? DEFAULT_STATUS) : current.status,
    cacheVersion:
      "cacheVersion" in change ? (change.cacheVersion ?? DEFAULT_CACHE_VERSION) : current.cacheVersion,
  };
}

function checkRasterOnly(kind: Dataset["kind"], raster: RasterInput | undefined, path: string): void {
  if (kind === "vector" && raster !== undefined) {
    throw invalid(`${path}.raster`, "is for raster datasets only");
  }
}

function rasterTiles(input: RasterInput | undefined, path: string): RasterTiles {
  const { tileUrlTemplate, bounds } = input ?? {};
  const minzoom = input?.minzoom ?? RASTER_DEFAULTS.minzoom;
  const maxzoom = input?.maxzoom ?? Math.max(minzoom, RASTER_DEFAULTS.maxzoom);
  if (minzoom > maxzoom) throw invalid(`${path}.minzoom`, "must not be above maxzoom");
  if (tileUrlTemplate !== undefined) checkTemplate(tileUrlTemplate, `${path}.tile_url_template`);
  if (bounds !== undefined) checkBounds(bounds, `${path}.bounds`);
  return {
    tileUrlTemplate,
    bounds,
    minzoom,
    maxzoom,
    tileSize: input?.tileSize ?? RASTER_DEFAULTS.tileSize,
    format: input?.format ?? RASTER_DEFAULTS.format,
  };
}

function checkTemplate(template: string, field: string): void {
  for (const placeholder of ["{z}", "{x}", "{y}"]) {
    if (!template.includes(placeholder)) throw invalid(field, `must contain ${placeholder}`);
  }
  if (/[\s\\#\p{Cc}]/u.test(template)) throw invalid(field, "must not contain blanks, backslashes or '#'");
  const url = parseTemplate(template);
  if (url === undefined) throw invalid(field, "must be an absolute path or an http(s) URL");
  // A template reaches every browser that gets a token: no password may ride in it.
  if (url.username !== "" || url.password !== "") throw invalid(field, "must not contain credentials");
  const taken = SIGNED_PARAMETERS.find((parameter) => url.searchParams.has(parameter));
  if (taken !== undefined) throw invalid(field, `must not set the query parameter ${taken}: signing does`);
}

function parseTemplate(template: string): URL | undefined {
  if (template.startsWith("/") && !template.startsWith("//"))
    return new URL(template, "http://tiles.invalid");
  return /^https?:\/\//i.test(template) ? parseUrl(template) : undefined;
}

function checkBounds([west, south, east, north]: Bounds, field: string): void {
  const longitudes = [west, east].every((degrees) => Math.abs(degrees) <= 180);
  const latitudes = [south, north].every((degrees) => Math.abs(degrees) <= 90);
  if (!longitudes) throw invalid(field, "west and east must be within -180 and 180 degrees");
  if (!latitudes) throw invalid(field, "south and north must be within -90 and 90 degrees");
  // West may lie east of east: that is how bounds cross the antimeridian.
  if (south > north) throw invalid(field, "south must not be north of north");
}

/** The first item whose `key` stands before it in the list already, as a failure that names both. */
export function findRepeated<T>(
  items: readonly T[],
  key: (item: T) => string | undefined,
  field: (index: number) => string,
): DomainError | undefined {
  const seen = new Map<string, number>();
  for (const [index, item] of items.entries()) {
    const value = key(item);
    if (value === undefined) continue;
    const first = seen.get(value);
    if (first !== undefined) return invalid(field(index), `repeats ${field(first)}`);
    seen.set(value, index);
  }
  return undefined;
}
