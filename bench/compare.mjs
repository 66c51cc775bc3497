import { median } from "./statistics.mjs";

/**
 * @typedef {object} Contestant
 * @property {string} name
 * @property {string} server
 * @property {readonly import("./generator/main.mjs").Request[]} requests
 * @property {number} [inFlight]
 * @property {(sample: Buffer, period: import("./answers.mjs").Period) => void} [check] Throws for a wrong answer.
 *
 * @typedef {object} Measurement
 * @property {number} callsPerSecond
 * @property {number} cpuMicroseconds The server's CPU time for a call, all its threads.
 * @property {number} serverPercent Of a core, and so the generator's: who is at 100 is what was measured.
 * @property {number} generatorPercent
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
    const order = round % 2 === 0 ? contestants : contestants.toReversed();
    for (const contestant of order) {
      results.get(contestant.name)?.push(await measure(bench, contestant, seconds));
    }
  }
  return results;
}

/** So many calls make the compiler's work; on a busy machine they may take long. */
const WARM_CALLS = 5_000;
const WARM_SECONDS = 8;

/** @param {import("./bench.mjs").Bench} bench @param {Contestant} contestant */
async function warmUp(bench, { server, requests, inFlight }) {
  const { port } = await bench.server(server);
  await bench.load({
    port,
    requests,
    seconds: WARM_SECONDS,
    maxCalls: WARM_CALLS,
    ...(inFlight && { inFlight }),
  });
}

/**
 * @param {import("./bench.mjs").Bench} bench @param {Contestant} contestant @param {number} seconds
 * @returns {Promise<Measurement>}
 */
async function measure(bench, { name, server, requests, inFlight, check }, seconds) {
  const { port, process } = await bench.server(server);
  const before = await process.usage();
  const begin = Date.now() / 1000;
  const outcome = await bench
    .load({ port, requests, seconds, ...(inFlight && { inFlight }) })
    .catch((error) => Promise.reject(new Error(`${name}: ${error.message}`)));
  const end = Date.now() / 1000;
  const after = await process.usage();
  for (const sample of outcome.samples) check?.(sample, { begin, end });
  const cpuSeconds = after.cpuSeconds - before.cpuSeconds;
  return {
    callsPerSecond: outcome.calls / outcome.seconds,
    cpuMicroseconds: (cpuSeconds / outcome.calls) * 1e6,
    serverPercent: (cpuSeconds / outcome.seconds) * 100,
    generatorPercent: (outcome.cpuSeconds / outcome.seconds) * 100,
  };
}

/**
 * `a` against `b`, for each round.
 * @param {readonly Measurement[]} a @param {readonly Measurement[]} b @param {keyof Measurement} what
 */
export const ratios = (a, b, what) => a.map((each, round) => each[what] / (b[round]?.[what] ?? Number.NaN));

/** Medians over the rounds. @param {readonly Measurement[]} measurements */
export function summarize(measurements) {
  const of = (/** @type {keyof Measurement} */ what) => median(measurements.map((each) => each[what]));
  return {
    calls_per_second: Math.round(of("callsPerSecond")),
    cpu_us_per_call: round(of("cpuMicroseconds"), 1),
    server_percent: Math.round(of("serverPercent")),
    generator_percent: Math.round(of("generatorPercent")),
  };
}

/** @param {number} value @param {number} digits */
export const round = (value, digits) => Number(value.toFixed(digits));
