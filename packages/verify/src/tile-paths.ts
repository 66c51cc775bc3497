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
 * has letters, digits and `.`, `_`, `~`, `-` alone between single slashes (commas too, in a composite source) and no dot segment.
 */
export type TilePaths = (path: string) => NamedTiles | undefined;

const TABLE = "[A-Za-z_]\\w{0,62}";
const UUID = "[\\da-f]{8}(-[\\da-f]{4}){4}[\\da-f]{8}";

/** None matches a slash or a dot, so that what stands around it ends it: matching takes linear time. The others are numbers. */
const PLACEHOLDERS: Readonly<Record<string, string>> = {
  table: TABLE,
  tables: `${TABLE}(,${TABLE}){0,49}`,
  dataset: UUID,
  account: UUID,
  ext: "[a-z\\d]{1,8}",
};

const FILE = "/{z}/{x}/{y}.{ext}";
const SOURCE = "/({table}|{dataset})";
const FILE_OR_JSON = `(${FILE}|.json)`;

/** What each tile server serves of a dataset, its TileJSON included: templates, in which `(`, `)`, `|` and `?` are a pattern's. */
export const PRESETS: Readonly<Record<string, string>> = {
  geolens: `(/api)?/(tiles/(clusters/)?data.{table}|(tiles/raster-proxy|raster-tiles)/{dataset}(/tiles)?)${FILE}`,
  // With an extension it redirects to the form without.
  martin: "/({tables}|{dataset})(/{z}/{x}/{y}(.{ext})?)?",
  pg_tileserv: `/public.{table}${FILE_OR_JSON}`,
  "tileserver-gl": `/(data|styles)${SOURCE}(${FILE}|(/style)?.json)`,
  pmtiles: SOURCE + FILE_OR_JSON,
};

/** Where a preset's tile server has the tiles of a vector dataset: a template, which the preset matches. */
export const PRESET_TILES: Readonly<Record<string, string>> = {
  geolens: "/tiles/data.{table}/{z}/{x}/{y}.pbf",
  martin: "/{table}/{z}/{x}/{y}",
  pg_tileserv: "/public.{table}/{z}/{x}/{y}.pbf",
  "tileserver-gl": "/data/{table}/{z}/{x}/{y}.pbf",
  pmtiles: "/{table}/{z}/{x}/{y}.pbf",
};

/** As `compileTilePaths`, without its checks: a template may have all that a pattern may, and if it names nothing, it matches nothing. */
export const toTilePaths = (items: readonly string[]): TilePaths => {
  const patterns = items.map((item) => {
    // Groups are called t, d and a: the placeholders' first letters.
    const pattern = (PRESETS[item] ?? item).replace(/\{((.)\w*)\}|\./g, (_, name, letter) =>
      name ? `(?<${letter}>${PLACEHOLDERS[name] ?? "(0|[1-9]\\d{0,9})"})` : "\\.",
    );
    return new RegExp(`^${pattern}$`);
  });
  return (path) => {
    for (const pattern of patterns) {
      const { t, d = t, a } = pattern.exec(path)?.groups ?? {};
      if (d) return { names: d.split(","), kind: d === t ? "table" : "dataset", account: a };
    }
    return undefined;
  };
};

const MAX_LENGTH = 2048;

/** No segment is empty or of dots. Placeholders are an `x` here. */
const PLAIN_TEMPLATE = /^(\/(?!\.\.?(\/|$))[\w.~-]+)+$/;

/** Where it can't be told which characters are the placeholder's, two readers may tell differently. */
const AMBIGUOUS = /[\w}]\{|\}[\w{]/;

/**
 * @param items Names of `PRESETS`, and templates: paths with `{table}`, `{tables}` (one table, or up to 50 with commas between)
 *   or `{dataset}`, exactly one of them, and with `{account}`, `{z}`, `{x}`, `{y}`, `{ext}`, each once at most. The first that
 *   matches wins. No path of more than 2,048 characters matches.
 * @throws TypeError that tells the bad item's index, beginning with 0, and what is wrong with it.
 */
export function compileTilePaths(items: readonly string[]): TilePaths {
  items.forEach((item, index) => {
    const problem = Object.hasOwn(PRESETS, item) ? undefined : problemOf(item);
    if (problem !== undefined) throw new TypeError(`item ${index} ${problem}`);
  });
  const tilesOf = toTilePaths(items);
  return (path) => (path.length > MAX_LENGTH ? undefined : tilesOf(path));
}

function problemOf(template: string): string | undefined {
  if (!template.startsWith("/")) return "is neither a preset nor a path";
  const placeholders = template.match(/(?<=\{)(tables?|dataset|account|ext|[xyz])(?=\})/g) ?? [];
  const plain = placeholders.reduce((rest, name) => rest.replace(`{${name}}`, "x"), template);
  if (template.length > MAX_LENGTH || !PLAIN_TEMPLATE.test(plain)) {
    return "is not a plain path with known placeholders";
  }
  if (AMBIGUOUS.test(template)) return "has no separator between a placeholder and what stands beside it";
  if (new Set(placeholders).size < placeholders.length) return "has a placeholder twice";
  const naming = placeholders.filter((name) => /^[td]/.test(name));
  return naming.length === 1 ? undefined : "needs exactly one of {table}, {tables} and {dataset}";
}

/**
 * Whether a token of `scope` opens these tiles: never several at once. Where the path tells the account, only with that
 * account's prefix (TENANCY=multi): a bare name could be another account's table. Without, a prefix opens datasets alone, by their
 * ids, since tables of several accounts may have one name.
 */
export const opens = (scope: string, { names, kind, account }: NamedTiles): boolean => {
  const own = (account ? `${account}:` : "") + names;
  return !names[1] && (scope === own || (kind === "dataset" && scope.endsWith(`:${own}`)));
};
