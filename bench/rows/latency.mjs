import { round } from "../compare.mjs";
import { batchRequest, restRequest, singleRequest, verifyRequest } from "../requests.mjs";
import { median, spread } from "../statistics.mjs";

const SHARE_OF_CAPACITY = 0.7;
const WARM_CALLS = 20_000;

/** @type {import("../run.mjs").RowGroup} */
export const latency = {
  ids: ["p99_over_p50"],
  async run(bench, _wanted, { rounds, seconds }) {
    const { port, process } = await bench.server("tilegate");
    const { requests, order } = mix(bench.fixture);
    const mixed = { port, requests, order };
    await bench.load({ ...mixed, seconds: 15, maxCalls: WARM_CALLS });
    const capacity = [];
    for (let index = 0; index < rounds; index++) {
      const { calls, seconds: took } = await bench.load({ ...mixed, seconds });
      capacity.push(calls / took);
    }
    const callsPerSecond = median(capacity) * SHARE_OF_CAPACITY;
    /** @type {NonNullable<import("../generator/main.mjs").Outcome["milliseconds"]>[]} */
    const times = [];
    const busy = [];
    for (let index = 0; index < rounds; index++) {
      const before = await process.usage();
      const outcome = await bench.load({ ...mixed, seconds: 2 * seconds, callsPerSecond });
      const { cpuSeconds } = await process.usage();
      busy.push(((cpuSeconds - before.cpuSeconds) / outcome.seconds) * 100);
      if (outcome.milliseconds) times.push(outcome.milliseconds);
    }
    const of = (/** @type {"p50" | "p99" | "p999" | "max"} */ name) =>
      round(median(times.map((each) => each[name])), 3);
    const values = times.map(({ p50, p99 }) => p99 / p50);
    return [
      {
        id: "p99_over_p50",
        value: round(median(values), 2),
        unit: "x",
        target: 5,
        better: "<=",
        spread: spread(values).map((each) => round(each, 2)),
        absolute: {
          capacity_calls_per_second: Math.round(median(capacity)),
          calls_per_second: Math.round(callsPerSecond),
          server_percent: Math.round(median(busy)),
          p50_ms: of("p50"),
          p99_ms: of("p99"),
          p999_ms: of("p999"),
          max_ms: of("max"),
        },
      },
    ];
  },
};

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
