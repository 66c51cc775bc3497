import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "../ports.mjs";
import { vectorArchive } from "./pmtiles.mjs";
import { programDirectory, startProgram } from "./program.mjs";
import { edgeProgram, findMartin } from "./programs.mjs";

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

const archiveOf = (/** @type {string} */ layer) => `${layer}.pmtiles`;

/** @param {string} directory @param {readonly string[]} layers @param {number} maxzoom */
async function writeArchives(directory, layers, maxzoom) {
  for (const layer of layers)
    await writeFile(join(directory, archiveOf(layer)), vectorArchive(layer, maxzoom));
}
