import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "../ports.mjs";
import { vectorArchive } from "./pmtiles.mjs";
import { programDirectory, startProgram } from "./program.mjs";
import { edgeProgram } from "./programs.mjs";

/**
 * tileserver-gl-light with a source for each layer: /data/{layer}/{z}/{x}/{y}.pbf and /data/{layer}.json.
 * @param {{ layers: readonly string[], maxzoom?: number }} options
 */
export async function startTileServer({ layers, maxzoom = 3 }) {
  const directory = await programDirectory();
  const port = await freePort();
  const file = (/** @type {string} */ layer) => `${layer}.pmtiles`;
  for (const layer of layers)
    await writeFile(join(directory.path, file(layer)), vectorArchive(layer, maxzoom));
  const config = join(directory.path, "config.json");
  await writeFile(
    config,
    JSON.stringify({
      options: { paths: { root: "", pmtiles: "" } },
      styles: {},
      data: Object.fromEntries(layers.map((layer) => [layer, { pmtiles: file(layer) }])),
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
