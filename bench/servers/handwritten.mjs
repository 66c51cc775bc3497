// GeoLens' batch as one would write it by hand: no authentication, no validation, no access decision.
import { serveJson } from "./json-server.mjs";
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

serveJson(({ dataset_ids: ids }) => {
  /** @type {Record<string, object>} */
  const tokens = {};
  for (const id of ids) tokens[id] = tokenOf(id);
  return { tokens };
});
