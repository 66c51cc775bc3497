/** What a tile request's path says that it is for. */
export interface NamedTiles {
  /** Several where one path names a composite source. */
  readonly names: readonly string[];
  /** What `names` are: vector datasets' tables, or a dataset's canonical id. */
  readonly kind: "table" | "dataset";
  /** Canonical id, where the path tells it. */
  readonly account?: string | undefined;
}

/**
 * Reads a path as it was received, without its query. Undefined: no template matches, and nothing may be served. What matches
 * has letters, digits and `.`, `_`, `~`, `-` alone between single slashes (commas too, in a composite source), no dot segment,
 * and at most 2,048 characters.
 */
export type TilePaths = (path: string) => NamedTiles | undefined;

const MAX_LENGTH = 2048;

const TABLE = "[A-Za-z_]\\w{0,62}";
const UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}";
const NUMBER = "(?:0|[1-9]\\d{0,9})";

/** None matches a slash or a dot, so that what stands around it ends it: matching takes linear time. */
const PLACEHOLDERS: Readonly<Record<string, string>> = {
  table: `(?<table>${TABLE})`,
  tables: `(?<table>${TABLE}(?:,${TABLE}){0,49})`,
  dataset: `(?<dataset>${UUID})`,
  account: `(?<account>${UUID})`,
  z: NUMBER,
  x: NUMBER,
  y: NUMBER,
  ext: "[a-z0-9]{1,8}",
};

/** No segment is empty, or a dot segment. */
const PLAIN = /^(?:\/(?!\.\.?(?:\/|$))[\w.~-]+)+$/;

/** Where it can't be told which characters are the placeholder's, two readers may tell differently. */
const AMBIGUOUS = /[\w}]\{|\}[\w{]/;

/** Sources that may be a vector dataset's table or a raster dataset. */
const either = (templates: readonly string[]) =>
  templates.flatMap((template) => [template.replace("{}", "{table}"), template.replace("{}", "{dataset}")]);

/** What each tile server serves of a dataset, its TileJSON included. */
export const PRESETS: Readonly<Record<string, readonly string[]>> = {
  geolens: [
    ...["", "/api"].flatMap((prefix) => [
      `${prefix}/tiles/data.{table}/{z}/{x}/{y}.pbf`,
      `${prefix}/tiles/clusters/data.{table}/{z}/{x}/{y}.pbf`,
      `${prefix}/tiles/raster-proxy/{dataset}/{z}/{x}/{y}.{ext}`,
    ]),
    "/raster-tiles/{dataset}/tiles/{z}/{x}/{y}.{ext}",
  ],
  // The last two are answered by a redirect to the first form.
  martin: ["{tables}", "{dataset}"].flatMap((source) => [
    `/${source}/{z}/{x}/{y}`,
    `/${source}`,
    `/${source}/{z}/{x}/{y}.{ext}`,
    `/tiles/${source}/{z}/{x}/{y}`,
  ]),
  pg_tileserv: ["/public.{table}/{z}/{x}/{y}.{ext}", "/public.{table}.json"],
  "tileserver-gl": either([
    "/data/{}/{z}/{x}/{y}.{ext}",
    "/data/{}.json",
    "/styles/{}/style.json",
    "/styles/{}.json",
    "/styles/{}/{z}/{x}/{y}.{ext}",
  ]),
  pmtiles: either(["/{}/{z}/{x}/{y}.{ext}", "/{}.json"]),
};

/**
 * @param items Names of `PRESETS`, and templates: paths with `{table}`, `{tables}` (one table, or up to 50 with commas between)
 *   or `{dataset}`, exactly one of them, and with `{account}`, `{z}`, `{x}`, `{y}`, `{ext}`, each once at most. The first that
 *   matches wins.
 * @throws TypeError that tells the bad item's index, beginning with 0, and what is wrong with it.
 */
export function compileTilePaths(items: readonly string[]): TilePaths {
  const patterns = items.flatMap((item, index) => {
    const templates = item.startsWith("/") ? [item] : Object.hasOwn(PRESETS, item) && PRESETS[item];
    if (!templates) throw new TypeError(`item ${index} is neither a preset nor a path`);
    return templates.map((template) => compile(template, index));
  });
  return (path) => {
    if (path.length > MAX_LENGTH) return undefined;
    for (const pattern of patterns) {
      const groups = pattern.exec(path)?.groups;
      if (groups) {
        const { table, dataset = "", account } = groups;
        return {
          names: table?.split(",") ?? [dataset],
          kind: table ? "table" : "dataset",
          account,
        };
      }
    }
    return undefined;
  };
}

function compile(template: string, index: number): RegExp {
  const fail = (problem: string) => new TypeError(`item ${index} ${problem}`);
  const placeholders: string[] = [];
  const plain = template.replace(/\{(\w+)\}/g, (placeholder, name) => {
    if (!Object.hasOwn(PLACEHOLDERS, name)) return placeholder;
    placeholders.push(name);
    return "x";
  });
  if (template.length > MAX_LENGTH || !PLAIN.test(plain))
    throw fail("is not a plain path with known placeholders");
  if (AMBIGUOUS.test(template))
    throw fail("has no separator between a placeholder and what stands beside it");
  if (new Set(placeholders).size < placeholders.length) throw fail("has a placeholder twice");
  const naming = placeholders.filter((name) => /^(table|dataset)/.test(name));
  if (naming.length !== 1) throw fail("needs exactly one of {table}, {tables} and {dataset}");
  const pattern = template
    .replaceAll(".", "\\.")
    .replace(/\{(\w+)\}/g, (_, name) => PLACEHOLDERS[name] ?? "");
  return new RegExp(`^${pattern}$`);
}

const ACCOUNT_PREFIX = new RegExp(`^${UUID}:`);

/**
 * Whether a token of `scope` opens these tiles: never several at once. Where the path tells the account, only with that
 * account's prefix (TENANCY=multi): a bare name could be another account's table.
 */
export function opens(scope: string, { names, kind, account }: NamedTiles): boolean {
  const [name] = names;
  if (names.length !== 1) return false;
  if (account) return scope === `${account}:${name}`;
  return scope === name || (kind === "dataset" && ACCOUNT_PREFIX.test(scope) && scope.slice(37) === name);
}
