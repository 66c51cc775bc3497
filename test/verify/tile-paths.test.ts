import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileTilePaths, type NamedTiles, opens, PRESETS } from "#tile-paths";

const ID = "2489e9ad-2ee2-8e00-8ec9-32d5f69181c0";
const ACCOUNT = "7c9e6679-7425-40de-944b-e07fc1f90ae7";

const table = (...names: string[]): NamedTiles => ({ names, kind: "table" });
const dataset = (id: string): NamedTiles => ({ names: [id], kind: "dataset" });

describe("presets tell what each tile server's paths are for", () => {
  test.each<[string, string, NamedTiles | undefined]>([
    ["geolens", "/tiles/data.roads/14/8529/5975.pbf", table("roads")],
    ["geolens", "/api/tiles/data.roads/14/8529/5975.pbf", table("roads")],
    ["geolens", "/tiles/clusters/data.roads/0/0/0.pbf", table("roads")],
    ["geolens", "/api/tiles/clusters/data.roads/0/0/0.pbf", table("roads")],
    ...["png", "webp", "jpg", "jpeg", "tif", "tiff"].flatMap((format): [string, string, NamedTiles][] => [
      ["geolens", `/tiles/raster-proxy/${ID}/3/4/5.${format}`, dataset(ID)],
      ["geolens", `/api/tiles/raster-proxy/${ID}/3/4/5.${format}`, dataset(ID)],
      ["geolens", `/raster-tiles/${ID}/tiles/3/4/5.${format}`, dataset(ID)],
    ]),
    ["geolens", `/raster-tiles/${ID.slice(1)}/tiles/3/4/5.png`, undefined],
    ["geolens", "/tiles/roads/14/8529/5975.pbf", undefined],
    ["geolens", "/tiles/token/x/", undefined],
    ["martin", "/roads/14/8529/5975", table("roads")],
    ["martin", "/roads", table("roads")],
    ["martin", "/roads,rivers", table("roads", "rivers")],
    ["martin", "/roads,rivers/1/0/0", table("roads", "rivers")],
    ["martin", "/roads/1/0/0.mvt", table("roads")],
    ["martin", "/tiles/roads/1/0/0", undefined],
    ["martin", `/${ID}/1/0/0`, dataset(ID)],
    ["martin", `/${ID}`, dataset(ID)],
    ["martin", `/roads,${ID}/1/0/0`, undefined],
    ["martin", "/sprite/roads/a", undefined],
    ["pg_tileserv", "/public.roads/1/0/0.pbf", table("roads")],
    ["pg_tileserv", "/public.roads/1/0/0.mvt", table("roads")],
    ["pg_tileserv", "/public.roads.json", table("roads")],
    ["pg_tileserv", "/secret.roads/1/0/0.pbf", undefined],
    ["tileserver-gl", "/data/roads/1/0/0.pbf", table("roads")],
    ["tileserver-gl", `/data/${ID}/1/0/0.png`, dataset(ID)],
    ["tileserver-gl", "/data/roads.json", table("roads")],
    ["tileserver-gl", `/data/${ID}.json`, dataset(ID)],
    ["tileserver-gl", "/styles/roads/style.json", table("roads")],
    ["tileserver-gl", "/styles/roads.json", table("roads")],
    ["tileserver-gl", "/styles/roads/1/0/0.png", table("roads")],
    ["pmtiles", "/roads/1/0/0.mvt", table("roads")],
    ["pmtiles", `/${ID}/1/0/0.webp`, dataset(ID)],
    ["pmtiles", "/roads.json", table("roads")],
    ["pmtiles", "/roads,rivers.json", undefined],
  ])("%s: %s", (preset, path, expected) => {
    expect(compileTilePaths([preset])(path)).toEqual(expected);
  });
});

describe("templates", () => {
  test("the first that matches wins", () => {
    const paths = compileTilePaths(["/{dataset}/{z}", "/{table}/{z}", "/{tables}/{z}"]);
    expect(paths("/roads/1")).toEqual(table("roads"));
    expect(paths("/a,b/1")).toEqual(table("a", "b"));
  });

  test("a path may tell the account", () => {
    const paths = compileTilePaths(["/{account}/{table}/{z}/{x}/{y}.{ext}"]);
    expect(paths(`/${ACCOUNT}/roads/1/0/0.pbf`)).toEqual({ ...table("roads"), account: ACCOUNT });
    expect(paths(`/${ACCOUNT.toUpperCase()}/roads/1/0/0.pbf`)).toBeUndefined();
  });

  test.each([
    [
      "/t/{table}",
      ["a", "_a", "A1_", "a".repeat(63)],
      ["", "1a", "a".repeat(64), "a-b", "a$", "a,b", "a.b", "ž"],
    ],
    [
      "/t/{tables}",
      ["a", "a,b", Array(50).fill("a").join()],
      ["", ",", "a,", ",a", "a,,b", "a,1", Array(51).fill("a").join()],
    ],
    [
      "/t/{dataset}",
      [ID],
      [ID.toUpperCase(), ID.slice(1), `${ID}0`, ID.replaceAll("-", ""), `{${ID}}`, `${ID},${ID}`],
    ],
    [
      "/t/{table}/{z}/{x}/{y}",
      ["a/0/1/9999999999"],
      ["a/00/1/1", "a/-1/1/1", "a/1/1", "a/1/1/10000000000", "a/1/+1/1"],
    ],
    ["/t/{table}.{ext}", ["a.pbf", "a.mvt2"], ["a.", "a.PBF", "a.pbf.gz", "a.abcdefghi"]],
    ["/t/data.{table}", ["data.a"], ["dataXa", "data..a"]],
  ])("%s", (template, good, bad) => {
    const paths = compileTilePaths([template]);
    for (const rest of good) expect(paths(`/t/${rest}`), rest).toBeDefined();
    for (const rest of bad) expect(paths(`/t/${rest}`), rest).toBeUndefined();
  });

  test.each<[string, RegExp]>([
    ["", /^item 1 is neither a preset nor a path$/],
    ["Martin", /neither a preset/],
    ["constructor", /neither a preset/],
    ["t/{table}", /neither a preset/],
    ["/t/{z}/{x}/{y}", /exactly one of/],
    ["/{table}/{dataset}", /exactly one of/],
    ["/{table}/{tables}", /exactly one of/],
    ["/{table}/{table}", /twice/],
    ["/{account}/{account}/{table}", /twice/],
    ["/{table}/{z}/{z}", /twice/],
    ["/{table}/{q}", /plain path/],
    ["/{Table}", /plain path/],
    ["/{table", /plain path/],
    ["/{table}}", /plain path/],
    ["/{{table}}", /plain path/],
    ["/{constructor}/{table}", /plain path/],
    ["/{table}/", /plain path/],
    ["//{table}", /plain path/],
    ["/../{table}", /plain path/],
    ["/./{table}", /plain path/],
    ["/a/..", /plain path/],
    ["/a%20b/{table}", /plain path/],
    ["/a,b/{table}", /plain path/],
    ["/a(b)+/{table}", /plain path/],
    ["/{table}?a=b", /plain path/],
    ["/{table}#", /plain path/],
    [`/${"a".repeat(2048)}/{table}`, /plain path/],
    // `/roads_1_2/…` could be the table roads and the number 1, or the table roads_1.
    ["/{table}_{z}", /no separator/],
    ["/{table}{z}", /no separator/],
    ["/a{table}", /no separator/],
    ["/{table}1", /no separator/],
  ])("refused: %s", (template, problem) => {
    expect(() => compileTilePaths(["martin", template])).toThrow(problem);
    expect(() => compileTilePaths(["martin", template])).toThrow(TypeError);
    // Settings may be secret: none is told.
    expect(() => compileTilePaths(["martin", "/se%cret/{table}"])).toThrow(/^(?!.*cret)/);
  });
});

const EVERYTHING = [...Object.keys(PRESETS), "/{account}/{table}/{z}/{x}/{y}.{ext}", "/t/{dataset}-{z}"];

describe("never normalised, never decoded", () => {
  const paths = compileTilePaths(EVERYTHING);
  test.each([
    // Oathkeeper GHSA-p224-6x5r-fjpm: `/public/../admin` matched raw.
    "/public/../roads/1/0/0",
    "/tiles/data.roads/../data.secret/1/0/0.pbf",
    "/./roads/1/0/0",
    "/roads/1/0/..",
    "/..",
    "/.",
    "/",
    "",
    // OPA-Envoy CVE-2026-26205: `//admin/x` parsed as authority.
    "//roads/1/0/0",
    "/roads//1/0/0",
    "/roads/1/0/0/",
    // Traefik CVE-2026-40912: decoded and raw path differed.
    "/%72oads/1/0/0",
    "/roads%2f1/0/0",
    "/%2e%2e/roads/1/0/0",
    "/roads%00/1/0/0",
    "/roads\\1/0/0",
    "/roads;a/1/0/0",
    "/roads;/1/0/0",
    "/roads/1/0/0?a=b",
    "/roads/1/0/0#a",
    "/roads/1/0/0\n",
    "\n/roads/1/0/0",
    "/roads/1/0/0\0",
    "/ roads/1/0/0",
    "/röads/1/0/0",
    "/ROADS\u212A/1/0/0",
    "roads/1/0/0",
    "https://a.example/roads/1/0/0",
    "/roads,/1/0/0",
    "/public.roads,rivers/1/0/0.pbf",
    "/data/roads,rivers/1/0/0.pbf",
    "/public.roads@2x/1/0/0.pbf",
  ])("%j", (path) => {
    expect(paths(path)).toBeUndefined();
  });

  test("a path of more than 2,048 characters matches nothing", () => {
    const tables = (length: number) => Array(50).fill("a".repeat(length)).join();
    expect(paths(`/${tables(39)}`)).toEqual(table(...Array(50).fill("a".repeat(39))));
    expect(paths(`/${tables(41)}`)).toBeUndefined();
  });

  const segment = fc.oneof(
    fc.constantFrom(
      "tiles",
      "api",
      "data",
      "roads",
      "data.roads",
      "public.roads",
      ID,
      "1",
      "0.pbf",
      "a,b",
      "..",
      "",
    ),
    fc.string({ unit: "binary", maxLength: 8 }),
  );
  test("whatever matches is on the list of what may: plain characters, single slashes, no dot segment", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(segment, { maxLength: 7 }).map((segments) => `/${segments.join("/")}`),
          fc.string({ unit: "binary" }),
        ),
        (path) => {
          const named = paths(path);
          if (named === undefined) return;
          expect(path).toMatch(/^\/[A-Za-z0-9._~,-]+(\/[A-Za-z0-9._~,-]+)*$/);
          expect(path.split("/").filter((part) => part === "." || part === "..")).toEqual([]);
          expect(path.includes(",")).toBe(named.names.length > 1);
          expect(path).toContain(named.names.join());
        },
      ),
      { numRuns: 5_000 },
    );
  });

  test("hostile paths cost no more than their length", () => {
    const parts = ["a", "a,", "a/", "0/", "/0/0/0", `${ID}`, "data.", "a_", "-", "~", "1", "a.a"];
    const hostile = parts.flatMap((part) =>
      ["/", "/tiles/data.", "/data/", "/t/"].map((start) =>
        `${start}${part.repeat(2048)}`.slice(0, 2047).concat("!"),
      ),
    );
    const started = performance.now();
    for (let round = 0; round < 20; round += 1)
      for (const path of hostile) expect(paths(path)).toBeUndefined();
    expect(performance.now() - started).toBeLessThan(5_000);
  });
});

describe("what a token's scope opens", () => {
  const inAccount = (named: NamedTiles): NamedTiles => ({ ...named, account: ACCOUNT });
  test.each<[string, string, NamedTiles, boolean]>([
    ["its table", "roads", table("roads"), true],
    ["its dataset", ID, dataset(ID), true],
    ["a tenant's dataset: ids are unique", `${ACCOUNT}:${ID}`, dataset(ID), true],
    ["a tenant's table in its own path", `${ACCOUNT}:roads`, inAccount(table("roads")), true],
    ["a tenant's dataset in its own path", `${ACCOUNT}:${ID}`, inAccount(dataset(ID)), true],
    ["another table", "roads", table("rivers"), false],
    ["a table in another case", "roads", table("Roads"), false],
    ["a table that begins alike", "roads", table("roads_private"), false],
    ["another dataset", ID, dataset(ACCOUNT), false],
    ["a tenant's table where the path doesn't tell whose", `${ACCOUNT}:roads`, table("roads"), false],
    ["another tenant's table", `${ID}:roads`, inAccount(table("roads")), false],
    ["another tenant's dataset", `${ID}:${ID}`, inAccount(dataset(ID)), false],
    ["a bare table in an account's path", "roads", inAccount(table("roads")), false],
    ["a bare dataset in an account's path", ID, inAccount(dataset(ID)), false],
    ["the account alone", ACCOUNT, inAccount(table("roads")), false],
    ["a composite, never", "roads", table("roads", "roads"), false],
    ["a composite by its own text", "roads,rivers", table("roads", "rivers"), false],
  ])("%s", (_name, scope, named, expected) => {
    expect(opens(scope, named)).toBe(expected);
  });
});
