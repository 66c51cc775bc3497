import { checkBatch } from "../answers.mjs";
import { compare, inTurn, measure, round, summarize } from "../compare.mjs";
import { batchRequest, restRequest, singleRequest, verifyRequest } from "../requests.mjs";
import { median, spread } from "../statistics.mjs";

const SHARE_OF_CAPACITY = 0.7;
const WARM_CALLS = 20_000;

/**
 * @typedef {import("../compare.mjs").Measurement} Measurement
 * @typedef {"p50" | "p99" | "p999" | "max"} Percentile
 */

/** @type {import("../run.mjs").RowGroup} */
export const latency = {
  ids: ["p99_vs_bare", "p99_same_load", "p999_ms", "p99_over_p50"],
  async run(bench, wanted, effort) {
    const rows = [];
    if (["p99_vs_bare", "p99_same_load", "p999_ms"].some((id) => wanted.has(id))) {
      rows.push(...(await againstBare(bench, effort)).filter(({ id }) => wanted.has(id)));
    }
    if (wanted.has("p99_over_p50")) rows.push(await ofAMix(bench, effort));
    return rows;
  },
};

/**
 * Warm batches, half over JSON and half over gRPC: first as many as each server can, then at a share of that.
 * @param {import("../bench.mjs").Bench} bench @param {import("../compare.mjs").Effort} effort
 * @returns {Promise<import("../report.mjs").Row[]>}
 */
async function againstBare(bench, { rounds, seconds }) {
  const { datasets, apiKey } = bench.fixture;
  const ids = datasets.map(({ id }) => id);
  const protocols = /** @type {const} */ (["json", "grpc"]);
  const batches = {
    requests: protocols.map((protocol) => batchRequest(protocol, ids, { "x-api-key": apiKey })),
    /** @type {import("../compare.mjs").Contestant["check"]} */
    check: (sample, period, request) => checkBatch(protocols[request] ?? "json", datasets)(sample, period),
  };
  const [tilegate, bare] = [
    { ...batches, name: "tilegate", server: "tilegate" },
    { ...batches, name: "bare", server: "bare-connect" },
  ];
  const capacity = await compare(bench, [tilegate, bare], { rounds, seconds });
  const shareOf = (/** @type {string} */ name) =>
    SHARE_OF_CAPACITY * median((capacity.get(name) ?? []).map(({ callsPerSecond }) => callsPerSecond));

  /** @type {{ contestant: import("../compare.mjs").Contestant, callsPerSecond: number, all: Measurement[] }[]} */
  const runs = [
    { contestant: tilegate, callsPerSecond: shareOf("tilegate"), all: [] },
    { contestant: bare, callsPerSecond: shareOf("bare"), all: [] },
    { contestant: tilegate, callsPerSecond: shareOf("bare"), all: [] },
  ];
  for (let index = 0; index < rounds; index++) {
    for (const { contestant, callsPerSecond, all } of inTurn(runs, index)) {
      all.push(await measure(bench, contestant, { seconds: 2 * seconds, callsPerSecond }));
    }
  }
  const [own = [], yardstick = [], sameLoad = []] = runs.map(({ all }) => all);
  const p999s = timesOf(own, "p999");
  return [
    {
      id: "p99_vs_bare",
      ...shares(own, yardstick),
      target: 0.15,
      absolute: {
        tilegate: { capacity: summarize(capacity.get("tilegate") ?? []), ...percentiles(own) },
        bare: { capacity: summarize(capacity.get("bare") ?? []), ...percentiles(yardstick) },
      },
    },
    {
      id: "p99_same_load",
      ...shares(sameLoad, yardstick),
      target: 0.06,
      absolute: { tilegate: percentiles(sameLoad), bare: percentiles(yardstick) },
    },
    {
      id: "p999_ms",
      value: round(median(p999s), 2),
      unit: "ms",
      spread: spread(p999s).map((each) => round(each, 2)),
      absolute: percentiles(own),
    },
  ];
}

/** @param {readonly Measurement[]} all @param {Percentile} name */
const timesOf = (all, name) => all.map(({ milliseconds }) => milliseconds?.[name] ?? Number.NaN);

/** `a`'s p99 by `b`'s, for each round. @param {readonly Measurement[]} a @param {readonly Measurement[]} b */
function shares(a, b) {
  const others = timesOf(b, "p99");
  const values = timesOf(a, "p99").map((p99, index) => p99 / (others[index] ?? Number.NaN));
  return {
    value: round(median(values), 3),
    unit: "x",
    better: /** @type {const} */ ("<="),
    spread: spread(values).map((each) => round(each, 3)),
  };
}

/** Medians over the rounds. @param {readonly Measurement[]} all */
function percentiles(all) {
  const of = (/** @type {Percentile} */ name) => round(median(timesOf(all, name)), 3);
  const { calls_per_second, server_percent } = summarize(all);
  return {
    ...{ calls_per_second, server_percent },
    ...{ p50_ms: of("p50"), p99_ms: of("p99"), p999_ms: of("p999"), max_ms: of("max") },
  };
}

/**
 * All calls that a platform makes.
 * @param {import("../bench.mjs").Bench} bench @param {import("../compare.mjs").Effort} effort
 * @returns {Promise<import("../report.mjs").Row>}
 */
async function ofAMix(bench, { rounds, seconds }) {
  const { requests, order } = mix(bench.fixture);
  const server = await bench.server("tilegate");
  const mixed = { name: "tilegate", server, requests, order };
  await bench.load({ port: server.port, requests, order, seconds: 15, maxCalls: WARM_CALLS });
  /** @type {Measurement[]} */
  const capacity = [];
  for (let index = 0; index < rounds; index++) capacity.push(await measure(bench, mixed, { seconds }));
  const callsPerSecond = SHARE_OF_CAPACITY * summarize(capacity).calls_per_second;
  /** @type {Measurement[]} */
  const all = [];
  for (let index = 0; index < rounds; index++) {
    all.push(await measure(bench, mixed, { seconds: 2 * seconds, callsPerSecond }));
  }
  const p50s = timesOf(all, "p50");
  const values = timesOf(all, "p99").map((p99, index) => p99 / (p50s[index] ?? Number.NaN));
  return {
    id: "p99_over_p50",
    value: round(median(values), 2),
    unit: "x",
    better: "<=",
    spread: spread(values).map((each) => round(each, 2)),
    absolute: { capacity: summarize(capacity), ...percentiles(all) },
  };
}

/**
 * A platform's calls, most of them batches from browsers, in a fixed order without bursts of one kind.
 * @param {import("../fixture.mjs").Fixture} fixture
 */
function mix({ datasets, apiKey, jwt, serviceToken }) {
  const ids = datasets.map(({ id }) => id);
  const key = { "x-api-key": apiKey };
  /** @type {readonly (readonly [weight: number, request: import("../generator/main.mjs").Request])[]} */
  const weighted = [
    [4, batchRequest("json", ids, key)],
    [2, batchRequest("json", ids.slice(0, 20), {})],
    [2, batchRequest("json", ids, { authorization: `Bearer ${jwt}` })],
    [4, batchRequest("grpc", ids, key)],
    [2, batchRequest("binary", ids, key)],
    [3, restRequest(ids, key)],
    [2, singleRequest("json", ids[0] ?? "", key)],
    [1, verifyRequest(apiKey, { authorization: `Bearer ${serviceToken}` })],
  ];
  const deck = weighted.flatMap(([weight], index) => Array.from({ length: weight }, () => index));
  // 7 is prime to their number, 20: each is dealt once, away from its like.
  const order = deck.map((_, index) => deck[(index * 7) % deck.length] ?? 0);
  return { requests: weighted.map(([, request]) => request), order };
}
