import { median, spread } from "./statistics.mjs";

/**
 * @typedef {object} Contestant
 * @property {string} name
 * @property {string | import("./bench.mjs").Server} server As bench.server() names it, or one that runs.
 * @property {readonly import("./generator/main.mjs").Request[]} requests
 * @property {readonly number[]} [order] As of a job.
 * @property {number} [inFlight]
 * @property {(sample: Buffer, period: import("./answers.mjs").Period, request: number) => void} [check] Throws for a wrong
 *   answer to the request at that index.
 *
 * @typedef {object} Measurement
 * @property {number} callsPerSecond
 * @property {number} cpuMicroseconds The server's CPU time for a call, all its threads.
 * @property {number} serverPercent Of a core, and so the generator's: who is at 100 is what was measured.
 * @property {number} generatorPercent
 * @property {import("./generator/main.mjs").Outcome["milliseconds"]} milliseconds Of an open loop.
 *
 * @typedef {Exclude<keyof Measurement, "milliseconds">} Rate
 *
 * @typedef {{ rounds: number, seconds: number }} Effort
 */

/**
 * Measures contestants one after the other, round by round, in alternating order (A B B A …), after warming all up. What
 * slows the machine down for a while so hits neighbours alike: ratios are taken within a round.
 *
 * @param {import("./bench.mjs").Bench} bench @param {readonly Contestant[]} contestants @param {Effort} effort
 * @returns {Promise<Map<string, Measurement[]>>} By name, one for each round.
 */
export async function compare(bench, contestants, { rounds, seconds }) {
  /** @type {Map<string, Measurement[]>} */
  const results = new Map(contestants.map(({ name }) => [name, []]));
  for (const contestant of contestants) await warmUp(bench, contestant);
  for (let round = 0; round < rounds; round++) {
    for (const contestant of inTurn(contestants, round)) {
      results.get(contestant.name)?.push(await measure(bench, contestant, { seconds }));
    }
  }
  return results;
}

/** Forward in one round, backward in the next. @template T @param {readonly T[]} all @param {number} round */
export const inTurn = (all, round) => (round % 2 === 0 ? all : all.toReversed());

/** So many calls make the compiler's work; on a busy machine they may take long. */
const WARM_CALLS = 5_000;
const WARM_SECONDS = 8;

/** @param {import("./bench.mjs").Bench} bench @param {Contestant} contestant */
async function warmUp(bench, { server, requests, inFlight }) {
  const { port } = await running(bench, server);
  await bench.load({
    port,
    requests,
    seconds: WARM_SECONDS,
    maxCalls: WARM_CALLS,
    ...(inFlight && { inFlight }),
  });
}

/** @param {import("./bench.mjs").Bench} bench @param {Contestant["server"]} server */
const running = async (bench, server) => (typeof server === "string" ? await bench.server(server) : server);

/**
 * @param {import("./bench.mjs").Bench} bench @param {Contestant} contestant
 * @param {Pick<import("./generator/main.mjs").Job, "seconds" | "maxCalls" | "callsPerSecond">} pace
 * @returns {Promise<Measurement>}
 */
export async function measure(bench, { name, server, requests, order, inFlight, check }, pace) {
  const { port, process } = await running(bench, server);
  const before = await process.usage();
  const begin = Date.now() / 1000;
  const outcome = await bench
    .load({ port, requests, ...pace, ...(order && { order }), ...(inFlight && { inFlight }) })
    .catch((error) => Promise.reject(new Error(`${name}: ${error.message}`)));
  const end = Date.now() / 1000;
  const after = await process.usage();
  for (const [index, sample] of outcome.samples.entries()) check?.(sample, { begin, end }, index);
  const cpuSeconds = after.cpuSeconds - before.cpuSeconds;
  return {
    callsPerSecond: outcome.calls / outcome.seconds,
    cpuMicroseconds: (cpuSeconds / outcome.calls) * 1e6,
    serverPercent: (cpuSeconds / outcome.seconds) * 100,
    generatorPercent: (outcome.cpuSeconds / outcome.seconds) * 100,
    milliseconds: outcome.milliseconds,
  };
}

/**
 * `a` against `b`, for each round.
 * @param {readonly Measurement[]} a @param {readonly Measurement[]} b @param {Rate} what
 */
export const ratios = (a, b, what) => a.map((each, round) => each[what] / (b[round]?.[what] ?? Number.NaN));

/** Medians over the rounds. @param {readonly Measurement[]} measurements */
export function summarize(measurements) {
  const of = (/** @type {Rate} */ what) => median(measurements.map((each) => each[what]));
  return {
    calls_per_second: Math.round(of("callsPerSecond")),
    cpu_us_per_call: round(of("cpuMicroseconds"), 1),
    server_percent: Math.round(of("serverPercent")),
    generator_percent: Math.round(of("generatorPercent")),
  };
}

/**
 * A row: the rate of one contestant against its yardstick's, by round, with what both did.
 * @param {{ id: string, target?: number | undefined }} row
 * @param {readonly [name: string, measured: readonly Measurement[] | undefined]} contestant
 * @param {readonly [name: string, measured: readonly Measurement[] | undefined]} yardstick
 * @returns {import("./report.mjs").Row}
 */
export function ratioRow({ id, target }, [of, a = []], [yardstick, b = []]) {
  const rates = ratios(a, b, "callsPerSecond");
  return {
    id,
    value: round(median(rates), 3),
    unit: "x",
    ...(target !== undefined && { target }),
    spread: spread(rates).map((each) => round(each, 3)),
    absolute: {
      cpu_ratio: round(median(ratios(b, a, "cpuMicroseconds")), 3),
      [of]: summarize(a),
      [yardstick]: summarize(b),
    },
  };
}

/** @param {number} value @param {number} digits */
export const round = (value, digits) => Number(value.toFixed(digits));
