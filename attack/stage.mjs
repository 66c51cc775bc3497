import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { batchRequest, singleRequest, verifyRequest } from "../bench/requests.mjs";
import { OTHER_CORE } from "../harness/cores.mjs";
import { startNode } from "../harness/node-process.mjs";
import { call, createAgent, openSession } from "./client.mjs";
import { cpuSeconds, highestMb, resetHighest, residentMb, socketsOf, socketsTo } from "./processes.mjs";

/**
 * @typedef {object} Attack
 * @property {string} name What --only names: whole, or the part before the slash for a family.
 * @property {string} description
 * @property {boolean} [withRedis]
 * @property {boolean} [cleartextOnly] Makes no difference over TLS, or its clients don't speak it.
 * @property {boolean} [notShort] Takes longer than a test may.
 * @property {(stage: Stage) => Promise<Check[]>} run
 *
 * @typedef {object} Check
 * @property {string} what
 * @property {number} value
 * @property {number} [max] Absent: for information.
 * @property {string} [unit]
 * @property {boolean} [timed] A time, which the test suite doesn't judge.
 * @property {readonly string[]} [details] Printed where it is missed.
 *
 * @typedef {{ outcome: any, watch(): Promise<any>, stop(): Promise<void> }} Attacker A process that goes on until it is
 *   stopped.
 * @typedef {{ batches: import("./honest.mjs").Report, probes: import("./honest.mjs").Report }} HonestReport
 *
 * @typedef {object} Stage One attack's server with honest clients beside it.
 * @property {import("./arena.mjs").Target} target
 * @property {import("../bench/fixture.mjs").Fixture} fixture
 * @property {boolean} short
 * @property {(module: string, name: string, options?: object) => Promise<Attacker>} attack Starts one of the `attackers`
 *   that a module exports, on the core that the server needn't have. Resolves to what it has achieved.
 * @property {number} beforeMb Resident before the attack.
 * @property {() => number} highestMb
 * @property {(max: number) => Check} grownAtMost
 * @property {() => Promise<number>} longestBlockMs Of the server's event loop since the attack began.
 * @property {() => Promise<HonestReport>} honest Since the attack began.
 * @property {() => number} cpuSeconds The server's CPU time since the attack began.
 * @property {() => number} attackedCpuSeconds The same but for what honest clients cost.
 * @property {() => Promise<number>} settle Ends the honest clients; resolves to the connections that the server still has
 *   when those of them and of closed attackers should be gone.
 * @property {() => Promise<void>} stopAttackers
 * @property {() => Promise<void>} stop
 */

const WARM_MS = 2_500;
const SHORT_WARM_MS = 200;
/**
 * Of each kind of call, before memory is taken: code that is compiled and loaded then is no attack's doing. So many that V8 has
 * optimized what a flood takes: until then, each turn of the event loop is long, and accepts one connection.
 */
const WARM_CALLS = 500;
const SHORT_WARM_CALLS = 200;
const LEFT_AFTER_MS = 5_000;
const HONEST_BATCH = 20;
const SAMPLE_EVERY_MS = 50;

const file = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));

/**
 * @param {import("./arena.mjs").Arena} arena @param {import("./arena.mjs").Target} target
 * @param {{ short: boolean, isWarm: boolean }} options @returns {Promise<Stage>}
 */
export async function openStage({ fixture, databasePorts }, target, { short, isWarm }) {
  /** @type {import("../harness/node-process.mjs").NodeProcess[]} */
  const attackers = [];
  const { pid, port, tls } = target;
  const ownSockets = () => {
    const databases = socketsTo(databasePorts);
    return [...socketsOf(pid)].filter((socket) => !databases.has(socket));
  };

  if (!isWarm) await warmUp(target, fixture, short ? SHORT_WARM_CALLS : WARM_CALLS);
  await delay(100);
  const idle = new Set(ownSockets());
  const clients = startNode([file("honest.mjs")], { channel: true });
  await clients.hear("ready");
  const ids = fixture.datasets.slice(0, HONEST_BATCH).map(({ id }) => id);
  clients.tell({ start: { port, tls, ids } });
  await delay(short ? SHORT_WARM_MS : WARM_MS);
  const warmCpu = cpuSeconds(pid);
  const warmAt = performance.now();
  await delay(short ? SHORT_WARM_MS : WARM_MS);
  const honestCpuPerSecond = (cpuSeconds(pid) - warmCpu) / ((performance.now() - warmAt) / 1000);

  await target.longestBlockMs();
  clients.tell("reset");
  resetHighest(pid);
  const beforeMb = residentMb(pid);
  const cpuBefore = cpuSeconds(pid);
  const began = performance.now();
  /** @type {number | undefined} */
  let left;
  /** What they had seen when they stopped. @type {HonestReport | undefined} */
  let lastReport;
  let highestSeenMb = beforeMb;
  let cpuSeenSeconds = 0;
  let longestBlockMs = 0;
  const sample = () => {
    highestSeenMb = Math.max(highestSeenMb, highestMb(pid));
    cpuSeenSeconds = Math.max(cpuSeenSeconds, cpuSeconds(pid) - cpuBefore);
  };
  // For a server that ends.
  const sampler = setInterval(sample, SAMPLE_EVERY_MS);
  const highest = () => {
    sample();
    return highestSeenMb;
  };

  // An attack may go on for a while when its server has ended.
  let isOver = false;
  const throwIfOver = () => {
    if (isOver) throw new Error("the attack is over");
  };

  /** @type {Stage} */
  const stage = {
    target,
    fixture,
    short,
    beforeMb,
    highestMb: highest,
    grownAtMost: (max) => ({ what: "memory +", value: highest() - beforeMb, max, unit: "MB" }),
    async attack(module, name, options = {}) {
      throwIfOver();
      const attacker = startNode([file("attacker.mjs"), module, name], {
        core: OTHER_CORE,
        channel: true,
      });
      attackers.push(attacker);
      await attacker.hear("ready");
      const outcome = attacker.hear("outcome");
      attacker.tell({ options: { port, tls, ...options } });
      return {
        outcome: await outcome,
        async watch() {
          throwIfOver();
          const watched = attacker.hear("watched");
          attacker.tell("watch");
          return await watched;
        },
        stop: attacker.stop,
      };
    },
    async longestBlockMs() {
      longestBlockMs = Math.max(longestBlockMs, await target.longestBlockMs());
      return longestBlockMs;
    },
    async honest() {
      if (lastReport !== undefined) return lastReport;
      const report = /** @type {Promise<HonestReport>} */ (clients.hear("report"));
      clients.tell("report");
      return await report;
    },
    cpuSeconds() {
      sample();
      return cpuSeenSeconds;
    },
    attackedCpuSeconds: () => stage.cpuSeconds() - honestCpuPerSecond * ((performance.now() - began) / 1000),
    async settle() {
      if (left !== undefined) return left;
      lastReport = await stage.honest();
      await clients.stop();
      for (const end = performance.now() + LEFT_AFTER_MS; ; await delay(100)) {
        left = ownSockets().filter((socket) => !idle.has(socket)).length;
        if (left === 0 || performance.now() > end) return left;
      }
    },
    async stopAttackers() {
      isOver = true;
      await Promise.all(attackers.map((each) => each.stop()));
    },
    async stop() {
      isOver = true;
      clearInterval(sampler);
      await Promise.all([clients, ...attackers].map((each) => each.stop()));
    },
  };
  return stage;
}

/** @param {import("./arena.mjs").Target} target @param {import("../bench/fixture.mjs").Fixture} fixture @param {number} calls */
async function warmUp(target, { datasets, apiKey, serviceToken }, calls) {
  const ids = datasets.map(({ id }) => id);
  const key = { "x-api-key": apiKey };
  const service = { authorization: `Bearer ${serviceToken}` };
  const requests = [
    batchRequest("grpc", ids, key),
    batchRequest("binary", ids, {}),
    singleRequest("grpc", ids[0] ?? "", key),
    verifyRequest(apiKey, service),
  ];
  const json = { "content-type": "application/json" };
  const refused = '{"dataset_ids":["","",""]}';
  const agent = createAgent(target, { keepAlive: true, maxSockets: 4 });
  const session = openSession(target);
  for (let round = 0; round < calls; round++) {
    await Promise.all([
      ...["/tilegate.v1.TileTokenService/BatchGetTileTokens", "/api/tiles/tokens/"].flatMap((path) => [
        call(target, { path, agent, headers: json, body: JSON.stringify({ dataset_ids: ids }) }),
        call(target, { path, agent, headers: json, body: refused }),
        call(target, {
          path,
          agent,
          headers: { ...json, "content-encoding": "gzip", "accept-encoding": "gzip" },
          body: gzipSync(refused),
        }),
      ]),
      call(target, {
        path: "/tilegate.v1.DatasetService/BatchUpsertDatasets",
        agent,
        headers: { ...json, ...service },
        body: '{"datasets":[{}]}',
      }),
      ...requests.map((request) => overHttp2(session, request)),
    ]);
  }
  session.close();
  agent.destroy();
}

/** @param {import("node:http2").ClientHttp2Session} session @param {import("../bench/requests.mjs").Request} request */
async function overHttp2(session, request) {
  if (request.protocol !== "http2") return;
  const { ":authority": _, ":scheme": __, ...headers } = Object.fromEntries(request.headers);
  const stream = session.request(headers);
  stream.on("error", () => {});
  stream.resume();
  stream.end(request.body);
  await new Promise((resolve) => stream.once("close", resolve));
}
