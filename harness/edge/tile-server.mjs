import { execFileSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "../ports.mjs";
import { vectorArchive } from "./pmtiles.mjs";
import { programDirectory, startProgram } from "./program.mjs";
import { edgeProgram, findMartin, PYTHON } from "./programs.mjs";

/**
 * tileserver-gl-light with a source for each layer: /data/{layer}/{z}/{x}/{y}.pbf and /data/{layer}.json.
 * @param {{ layers: readonly string[], maxzoom?: number }} options
 */
export async function startTileServer({ layers, maxzoom = 3 }) {
  const directory = await programDirectory();
  const port = await freePort();
  await writeArchives(directory.path, layers, maxzoom);
  const config = join(directory.path, "config.json");
  await writeFile(
    config,
    JSON.stringify({
      options: { paths: { root: "", pmtiles: "" } },
      styles: {},
      data: Object.fromEntries(layers.map((layer) => [layer, { pmtiles: archiveOf(layer) }])),
    }),
  );
  const args = [
    edgeProgram("tileserver-gl"),
    "--config",
    config,
    "--bind",
    "127.0.0.1",
    "--port",
    String(port),
  ];
  return startProgram(process.execPath, args, { port, directory });
}

/**
 * Martin with a source for each layer: /{layer}/{z}/{x}/{y} and /{layer}.
 * @param {{ layers: readonly string[], maxzoom?: number }} options
 */
export async function startMartin({ layers, maxzoom = 3 }) {
  const file = findMartin();
  if (file === undefined) throw new Error("Martin is not installed");
  const directory = await programDirectory();
  const port = await freePort();
  await writeArchives(directory.path, layers, maxzoom);
  const archives = layers.map((layer) => join(directory.path, archiveOf(layer)));
  return startProgram(file, ["--listen-addresses", `127.0.0.1:${port}`, ...archives], { port, directory });
}

const IMAGE = `
import sys, numpy, rasterio
from rasterio.transform import from_bounds
size, edge = 256, 20037508.342789244
world = from_bounds(-edge, -edge, edge, edge, size, size)
for file in sys.argv[1:]:
    with rasterio.open(file, "w", driver="GTiff", width=size, height=size, count=1, dtype="uint8", crs="EPSG:3857", transform=world) as image:
        image.write(numpy.full((1, size, size), 77, "uint8"))
`;

/**
 * TiTiler, and a grey image of the world for each of `datasets`.
 * @param {{ datasets: readonly string[] }} options
 * @returns {Promise<import("./program.mjs").Program & { readonly images: string }>} `images`: the directory of `{dataset}.tif`.
 */
export async function startTiTiler({ datasets }) {
  const directory = await programDirectory();
  const port = await freePort();
  const files = datasets.map((id) => join(directory.path, `${id}.tif`));
  execFileSync(join(PYTHON, "bin/python"), ["-c", IMAGE, ...files]);
  const args = ["titiler.application.main:app", "--host", "127.0.0.1", "--port", String(port)];
  const program = await startProgram(edgeProgram("titiler"), args, { port, directory });
  return Object.assign(program, { images: directory.path });
}

const archiveOf = (/** @type {string} */ layer) => `${layer}.pmtiles`;

/** @param {string} directory @param {readonly string[]} layers @param {number} maxzoom */
async function writeArchives(directory, layers, maxzoom) {
  for (const layer of layers)
    await writeFile(join(directory, archiveOf(layer)), vectorArchive(layer, maxzoom));
}
