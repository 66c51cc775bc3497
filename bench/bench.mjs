import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import pg from "pg";
import { SERVER_CORE } from "../harness/cores.mjs";
import { startNode } from "../harness/node-process.mjs";
import { freePort } from "../harness/ports.mjs";
import { tilegateArgs, untilReady } from "../harness/tilegate.mjs";
import { startPostgres, startRedis } from "./databases.mjs";
import { createFixture, SIGNING_KEY } from "./fixture.mjs";
import { startGenerator } from "./generator/start.mjs";
import { batchRequest } from "./requests.mjs";

/**
 * @typedef {import("./generator/main.mjs").Job} Job
 * @typedef {import("./generator/main.mjs").Outcome} Outcome
 * @typedef {{ port: number, process: import("../harness/node-process.mjs").NodeProcess }} Server
 *
 * @typedef {object} Bench What all rows work with.
 * @property {import("./fixture.mjs").Fixture} fixture
 * @property {(name: string) => Promise<Server>} server "tilegate", or one of bench/servers, with its flags; started at
 *   first use.
 * @property {(options?: { env?: Record<string, string>, core?: number }) => Promise<Server>} startTilegate
 *   Another process of the service. Default: on the servers' core.
 * @property {(job: Job) => Promise<Outcome>} load One at a time.
 * @property {import("pg").Client} sql For what would take too long through the service.
 * @property {Record<string, string>} versions Of the databases.
 * @property {() => Promise<void>} stop Ends every process.
 */

const file = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));

/** @returns {Promise<Bench>} */
export async function openBench() {
  /** @type {(() => Promise<void>)[]} */
  const stops = [];
  const stop = async () => {
    for (const each of stops.splice(0).reverse()) await each();
  };
  try {
    return { ...(await open(stops)), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** @param {(() => Promise<void>)[]} stops @returns {Promise<Omit<Bench, "stop">>} */
async function open(stops) {
  const directory = await mkdtemp(join(tmpdir(), "tilegate-bench-"));
  stops.push(() => rm(directory, { recursive: true, force: true }));
  const postgres = await startPostgres();
  stops.push(async () => postgres[Symbol.asyncDispose]());
  const redis = await startRedis();
  stops.push(async () => redis[Symbol.asyncDispose]());
  const sql = new pg.Client({ connectionString: postgres.url });
  await sql.connect();
  stops.push(() => sql.end());
  const fixture = await createFixture({ databaseUrl: postgres.url, redisUrl: redis.url, directory });
  const { load, stop } = await startGenerator();
  stops.push(stop);

  /** @type {Bench["startTilegate"]} */
  async function startTilegate({ env = {}, core = SERVER_CORE } = {}) {
    const port = await freePort();
    const all = { ...fixture.env, PORT: String(port), ...env };
    const started = startNode(tilegateArgs(["serve"]), { core, env: all, channel: true });
    stops.push(started.stop);
    // Its log is silent. Rejects if the process ends, which no message announces.
    await Promise.race([untilReady({ port }), started.hear("end")]);
    return { port, process: started };
  }

  // A real batch-of-50 answer, for the servers that have a constant one.
  const tilegate = await startTilegate();
  const ids = fixture.datasets.map(({ id }) => id);
  const credential = { "x-api-key": fixture.apiKey };
  const answers = [];
  for (const protocol of /** @type {const} */ (["json", "grpc"])) {
    const requests = [batchRequest(protocol, ids, credential)];
    const { samples } = await load({ port: tilegate.port, requests, seconds: 5, maxCalls: 1 });
    answers.push(samples[0]?.toString("base64"));
  }
  const [jsonAnswer, grpcAnswer] = answers;
  const told = join(directory, "fixture.json");
  await writeFile(told, JSON.stringify({ ...fixture, signingKey: SIGNING_KEY, jsonAnswer, grpcAnswer }));

  /** @param {string} name @returns {Promise<Server>} */
  async function startServer(name) {
    const env = { ...fixture.env };
    const [program = "", ...flags] = name.split(" ");
    const started = startNode([file(`servers/${program}.mjs`), told, ...flags], {
      core: SERVER_CORE,
      env,
      channel: true,
    });
    stops.push(started.stop);
    const { port } = /** @type {{ port: number }} */ (await started.hear("listening"));
    return { port, process: started };
  }
  const servers = new Map([["tilegate", Promise.resolve(tilegate)]]);
  return {
    fixture,
    sql,
    versions: await versionsOf(sql, redis.url),
    load,
    startTilegate,
    server(name) {
      const started = servers.get(name) ?? startServer(name);
      servers.set(name, started);
      return started;
    },
  };
}

/** @param {import("pg").Client} sql @param {string} redisUrl */
async function versionsOf(sql, redisUrl) {
  const { rows } = await sql.query("SHOW server_version");
  const redis = new Redis(redisUrl);
  const info = await redis.info("server");
  redis.disconnect();
  return { postgres: rows[0].server_version, redis: /redis_version:(\S+)/.exec(info)?.[1] ?? "" };
}
