// The limit of node:http: an answer of the right size, without looking at the request. With --empty one without a body, with --tilejson
// a vector dataset's TileJSON.
import { createServer } from "node:http";
import { fixture } from "./tokens.mjs";

const TILE_JSON = {
  tilejson: "3.0.0",
  name: "A layer",
  scheme: "xyz",
  tiles: [
    `http://tilegate.example.com/tiles/data.ne_10m_layer_00/{z}/{x}/{y}.pbf?sig=${"0".repeat(64)}&exp=1800000000&scope=ne_10m_layer_00`,
  ],
  vector_layers: [{ id: "data.ne_10m_layer_00", fields: {} }],
};

function bodyOf() {
  if (process.argv.includes("--empty")) return Buffer.alloc(0);
  if (process.argv.includes("--tilejson")) return Buffer.from(JSON.stringify(TILE_JSON));
  return Buffer.from(fixture.jsonAnswer, "base64");
}

const body = bodyOf();
const headers = { "content-type": "application/json", "content-length": body.length };

const server = createServer((_request, response) => {
  response.writeHead(200, headers);
  response.end(body);
});
server.listen(0, "127.0.0.1", () => process.send?.({ listening: server.address() }));
