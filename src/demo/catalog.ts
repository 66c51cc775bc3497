import { createHash } from "node:crypto";
import type { DatasetInput } from "../domain/datasets/dataset-rules.js";

/** The account that owns the demo catalog. */
export const DEMO_ACCOUNT = { id: demoId("account"), name: "demo" };

/** The dataset that every example starts with: GeoLens' documentation uses the same id. */
export const FIRST_DATASET_ID = "2489e9ad-2ee2-8e00-8ec9-32d5f69181c0";

const PRIVATE_TABLE = "ne_military_areas";

/** The private dataset, which the demo's API key opens. */
export const DEMO_PRIVATE_DATASET_ID = demoId(PRIVATE_TABLE);

const WORLD = [-180, -85.0511, 180, 85.0511] as const;

/** Layers of Natural Earth, by the tables that common import scripts make of them. */
const PUBLIC_VECTOR: Record<string, string> = {
  ne_states_provinces: "States and provinces",
  ne_populated_places: "Populated places",
  ne_roads: "Roads",
  ne_railroads: "Railroads",
  ne_airports: "Airports",
  ne_ports: "Ports",
  ne_urban_areas: "Urban areas",
  ne_time_zones: "Time zones",
  ne_coastline: "Coastline",
  ne_land: "Land",
  ne_ocean: "Ocean",
  ne_rivers_lake_centerlines: "Rivers",
  ne_lakes: "Lakes",
  ne_reefs: "Reefs",
  ne_glaciated_areas: "Glaciated areas",
  ne_bathymetry: "Bathymetry",
  ne_geography_regions: "Physical regions",
};

const PUBLIC_RASTER: Record<string, string> = {
  natural_earth_shaded_relief: "Shaded relief",
  natural_earth_land_cover: "Land cover",
};

const published = {
  visibility: "public",
  status: "published",
  readerRoles: [],
  readerSubjects: [],
} as const;

const vector = (tableName: string, title: string, settings: Partial<DatasetInput> = {}): DatasetInput => ({
  id: demoId(tableName),
  kind: "vector",
  tableName,
  title,
  ...published,
  ...settings,
});

const raster = (name: string, title: string): DatasetInput => ({
  id: demoId(name),
  kind: "raster",
  title,
  raster: { bounds: WORLD, maxzoom: 8 },
  ...published,
});

/** 20 public layers, and one each that is restricted, private and a draft. */
export const DEMO_DATASETS: readonly DatasetInput[] = [
  vector("ne_countries", "Countries", { id: FIRST_DATASET_ID }),
  ...Object.entries(PUBLIC_VECTOR).map(([tableName, title]) => vector(tableName, title)),
  ...Object.entries(PUBLIC_RASTER).map(([name, title]) => raster(name, title)),
  vector("ne_disputed_areas", "Disputed areas", { visibility: "restricted", readerRoles: ["analyst"] }),
  vector(PRIVATE_TABLE, "Military areas", { visibility: "private" }),
  vector("ne_countries_next", "Countries, next edition", { status: "draft" }),
];

/** The same id in every installation, so that examples can name it: a UUID of version 8 made from the name. */
function demoId(name: string): string {
  const hex = createHash("sha256").update(`tilegate demo ${name}`).digest("hex");
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `8${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join("-");
}
