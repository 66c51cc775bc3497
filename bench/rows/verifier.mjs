import { createHmac } from "node:crypto";
import { createVerifier } from "../../packages/verify/dist/index.js";
import { inTurn, round } from "../compare.mjs";
import { SIGNING_KEY } from "../fixture.mjs";
import { median, spread } from "../statistics.mjs";

const LAYERS = 20;
const TILES = 50;
/** Ten times as many as a verifier knows by heart. */
const DISTINCT = 10_000;
const WARM_CALLS = 20_000;

/**
 * @typedef {object} Request
 * @property {string} url
 * @property {string} scope
 * @property {Buffer<ArrayBuffer>} text
 * @property {Buffer<ArrayBuffer>} sig
 *
 * @typedef {(request: Request) => Promise<boolean>} Contestant Whether its answer is right.
 */

/** `tilegate/verify` in this process, by CPU time of all of its threads: what it computes is computed on others. */
/** @type {import("../run.mjs").RowGroup} */
export const verifier = {
  ids: ["verify_vs_subtle", "verify_distinct_vs_subtle"],
  async run(_bench, wanted, effort) {
    const { verify } = createVerifier({ keys: [SIGNING_KEY] });
    const key = await crypto.subtle.importKey(
      "raw",
      Buffer.from(SIGNING_KEY),
      { name: "HMAC", hash: "SHA-256" },
      false,
      ["verify"],
    );
    /** @type {Contestant} */
    const ours = async ({ url, scope }) => {
      const verdict = await verify(url);
      return verdict.valid && verdict.scope === scope;
    };
    /** @type {Contestant} */
    const bare = ({ sig, text }) => crypto.subtle.verify("HMAC", key, sig, text);
    const map = Array.from({ length: LAYERS * TILES }, (_, index) => tile(index % LAYERS, index));
    const distinct = Array.from({ length: DISTINCT }, (_, index) => tile(index, index));
    const rows = [];
    if (wanted.has("verify_vs_subtle")) {
      rows.push({ id: "verify_vs_subtle", target: 1.3, ...(await against(ours, bare, map, effort)) });
    }
    if (wanted.has("verify_distinct_vs_subtle")) {
      rows.push({ id: "verify_distinct_vs_subtle", ...(await against(ours, bare, distinct, effort)) });
    }
    return rows;
  },
};

/** @param {number} layer @param {number} index @returns {Request} */
function tile(layer, index) {
  const scope = `layer_${layer}`;
  const exp = Math.ceil(Date.now() / 1000) + 3_600;
  const text = Buffer.from(`${scope}:${exp}`);
  const sig = createHmac("sha256", SIGNING_KEY).update(text).digest();
  const path = `/tiles/data.${scope}/14/${8_000 + (index % 100)}/${5_000 + Math.floor(index / 100)}.pbf`;
  return { url: `${path}?sig=${sig.toString("hex")}&exp=${exp}&scope=${scope}`, scope, text, sig };
}

/**
 * @param {Contestant} ours @param {Contestant} bare @param {readonly Request[]} requests
 * @param {import("../compare.mjs").Effort} effort
 * @returns {Promise<Omit<import("../report.mjs").Row, "id">>}
 */
async function against(ours, bare, requests, { rounds, seconds }) {
  const contestants = [
    { name: "ours", ask: ours },
    { name: "bare", ask: bare },
  ];
  for (const { ask } of contestants) await cost(ask, requests, { calls: WARM_CALLS });
  /** @type {Record<string, number[]>} */
  const measured = { ours: [], bare: [] };
  for (let round = 0; round < rounds; round++) {
    for (const { name, ask } of inTurn(contestants, round)) {
      measured[name]?.push(await cost(ask, requests, { seconds }));
    }
  }
  const { ours: of = [], bare: yardstick = [] } = measured;
  const ratios = of.map((each, round) => each / (yardstick[round] ?? Number.NaN));
  return {
    value: round(median(ratios), 3),
    unit: "x",
    better: "<=",
    spread: spread(ratios).map((each) => round(each, 3)),
    absolute: { cpu_us_per_call: round(median(of), 1), subtle_cpu_us_per_call: round(median(yardstick), 1) },
  };
}

/**
 * Microseconds of CPU for a call, one at a time.
 * @param {Contestant} ask @param {readonly Request[]} requests @param {{ seconds?: number, calls?: number }} length
 */
async function cost(ask, requests, { seconds = Number.POSITIVE_INFINITY, calls = Number.POSITIVE_INFINITY }) {
  const until = performance.now() + seconds * 1000;
  const before = process.cpuUsage();
  let asked = 0;
  for (; asked < calls && performance.now() < until; asked++) {
    const request = requests[asked % requests.length];
    if (!request || !(await ask(request))) throw new Error(`refused: ${request?.url}`);
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / asked;
}
