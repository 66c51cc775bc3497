import { createHmac } from "node:crypto";
import { checkGranted, checkTileJson } from "../answers.mjs";
import { compare, ratioRow } from "../compare.mjs";
import { SIGNING_KEY } from "../fixture.mjs";
import { authRequest, checkRequest, tileJsonRequest } from "../requests.mjs";

/** Of one layer: what a map of a usual size loads at a time, and a bit. */
const TILES = 64;

/** Longer than any run. */
const LIVE_SECONDS = 86_400;

const ROWS = [
  { id: "auth_vs_constant", of: "tilegate auth token", yardstick: "constant http1 empty", target: 0.5 },
  { id: "auth_key_vs_constant", of: "tilegate auth key", yardstick: "constant http1 empty", target: 0.4 },
  { id: "ext_authz_vs_constant", of: "tilegate ext_authz", yardstick: "constant grpc check", target: 0.5 },
  { id: "tilejson_vs_constant", of: "tilegate tilejson", yardstick: "constant http1 tilejson", target: 0.4 },
];

/**
 * What a proxy's question costs, for each tile, against an answer that asks nothing.
 * @type {import("../run.mjs").RowGroup}
 */
export const edge = {
  ids: ROWS.map(({ id }) => id),
  async run(bench, wanted, effort) {
    const all = contestants(bench.fixture);
    const chosen = ROWS.filter(({ id }) => wanted.has(id));
    const names = new Set(chosen.flatMap(({ of, yardstick }) => [of, yardstick]));
    const measured = await compare(
      bench,
      all.filter(({ name }) => names.has(name)),
      effort,
    );
    return chosen.map(({ id, of, yardstick, target }) =>
      ratioRow({ id, target }, [of, measured.get(of)], [yardstick, measured.get(yardstick)]),
    );
  },
};

/** @param {import("../fixture.mjs").Fixture} fixture @returns {import("../compare.mjs").Contestant[]} */
function contestants({ datasets, apiKey }) {
  const scope = datasets[0]?.scope ?? "";
  const exp = Math.floor(Date.now() / 1000) + LIVE_SECONDS;
  const sig = createHmac("sha256", SIGNING_KEY).update(`${scope}:${exp}`).digest("hex");
  const tiles = Array.from({ length: TILES }, (_, index) => `/${scope}/8/${index}/${index + 64}`);
  const signed = tiles.map((path) => `${path}?sig=${sig}&exp=${exp}&scope=${scope}`);
  const auth = signed.map((target) => authRequest(target, {}));
  const check = signed.map((target) => checkRequest(target, {}));
  return [
    { name: "tilegate auth token", server: "tilegate", requests: auth },
    {
      name: "tilegate auth key",
      server: "tilegate",
      requests: tiles.map((target) => authRequest(target, { "x-api-key": apiKey })),
    },
    {
      name: "tilegate tilejson",
      server: "tilegate",
      requests: datasets.map(({ id }) => tileJsonRequest(id, { "x-api-key": apiKey })),
      check: (sample) => checkTileJson(sample),
    },
    {
      name: "constant http1 tilejson",
      server: "constant-http1 --tilejson",
      requests: datasets.map(({ id }) => tileJsonRequest(id, { "x-api-key": apiKey })),
    },
    { name: "constant http1 empty", server: "constant-http1 --empty", requests: auth },
    { name: "tilegate ext_authz", server: "tilegate", requests: check, check: checkGranted },
    { name: "constant grpc check", server: "constant-grpc --check", requests: check },
  ];
}
