import { describe, expect, test } from "vitest";
import { compileTilePaths, opens, PRESETS } from "#tile-paths";
import { scopeOf } from "../../../src/domain/datasets/scope.js";
import { createVectorTiles } from "../../../src/domain/tile-tokens/tile-url.js";
import { newDataset } from "../../stores/store-fixture.js";

const ACCOUNT = "acc0acc0-0000-4000-8000-000000000001";
const roads = newDataset(ACCOUNT, { tableName: "roads" });

test.each([
  [["geolens", "martin"], "/tiles/data.roads/{z}/{x}/{y}.pbf", "data.roads"],
  [["martin", "geolens"], "/roads/{z}/{x}/{y}", "roads"],
  [["pg_tileserv"], "/public.roads/{z}/{x}/{y}.pbf", "public.roads"],
  [["tileserver-gl"], "/data/roads/{z}/{x}/{y}.pbf", "roads"],
  [["pmtiles"], "/roads/{z}/{x}/{y}.pbf", "roads"],
  [["/t/{table}/{z}/{x}/{y}.mvt", "geolens"], "/t/roads/{z}/{x}/{y}.mvt", "roads"],
  [["/t/{account}/{table}/{z}/{x}/{y}"], `/t/${ACCOUNT}/roads/{z}/{x}/{y}`, "roads"],
  // Neither a table's tiles: a TileJSON, a raster.
  [["/{table}.json", "/r/{dataset}/{z}/{x}/{y}"], "/tiles/data.roads/{z}/{x}/{y}.pbf", "data.roads"],
])("with TILE_PATHS=%j they are at %s, in the layer %s", (paths, template, layer) => {
  const tiles = createVectorTiles(paths, "single");
  expect([tiles.templateOf(roads), tiles.layerOf(roads)]).toEqual([template, layer]);
});

test("a table's name is put in as it is", () => {
  const odd = newDataset(ACCOUNT, { tableName: "a$&b" });
  expect(createVectorTiles(["martin"], "single").templateOf(odd)).toBe("/a$&b/{z}/{x}/{y}");
});

describe("a dataset's token opens where its tiles are said to be", () => {
  const isOpened = (paths: readonly string[], tenancy: "single" | "multi") => {
    const path = createVectorTiles(paths, tenancy).templateOf(roads).replace("{z}/{x}/{y}", "3/2/1");
    const tiles = compileTilePaths(paths)(path);
    return tiles !== undefined && opens(scopeOf(roads, tenancy), tiles);
  };

  test.each(Object.keys(PRESETS))("with the preset %s", (preset) => {
    expect(isOpened([preset], "single")).toBe(true);
  });

  test("with several accounts, where TILE_PATHS names a path of theirs, wherever in the list", () => {
    expect(isOpened(["geolens", "martin", "/t/{account}/{table}/{z}/{x}/{y}.pbf"], "multi")).toBe(true);
  });
});
