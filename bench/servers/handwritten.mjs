// GeoLens' batch as one would write it by hand: no authentication, no validation, no access decision.
import { createServer } from "node:http";
import { createSigner, rasterOf } from "./tokens.mjs";

const sign = createSigner();

/** @param {string} id */
function tokenOf(id) {
  const { kind, sig, exp, scope, expiresIn: expires_in } = sign(id);
  if (kind === "vector") return { kind, sig, exp, scope, expires_in };
  const {
    tileUrl: tile_url,
    tileSize: tile_size,
    bounds,
    minzoom,
    maxzoom,
    format,
  } = rasterOf(sig, exp, scope);
  return { kind, tile_url, sig, exp, scope, expires_in, bounds, minzoom, maxzoom, tile_size, format };
}

const server = createServer((request, response) => {
  /** @type {Buffer[]} */
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const { dataset_ids: ids } = JSON.parse(Buffer.concat(chunks).toString());
    /** @type {Record<string, object>} */
    const tokens = {};
    for (const id of ids) tokens[id] = tokenOf(id);
    const body = JSON.stringify({ tokens });
    response.writeHead(200, {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
    });
    response.end(body);
  });
});
server.listen(0, "127.0.0.1", () => process.send?.({ listening: server.address() }));
