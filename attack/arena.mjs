import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startPostgres, startRedis } from "../bench/databases.mjs";
import { createFixture } from "../bench/fixture.mjs";
import { startNode } from "../harness/node-process.mjs";
import { freePort } from "../harness/ports.mjs";
import { tilegateArgs, untilReady } from "../harness/tilegate.mjs";

/**
 * @typedef {object} Target An attacked server: a process, with its workers if it has some.
 * @property {number} port
 * @property {boolean} tls
 * @property {number} pid
 * @property {() => Promise<number>} longestBlockMs Of its event loops, since it was asked last. NaN if it has ended.
 * @property {() => string | undefined} ended Why, if it has.
 * @property {Promise<string>} end Why, once it has.
 * @property {() => Promise<void>} stop
 *
 * @typedef {object} Arena What all attacks share: databases and an installation.
 * @property {import("../bench/fixture.mjs").Fixture} fixture
 * @property {readonly number[]} databasePorts
 * @property {(options?: { withRedis?: boolean }) => Promise<Target>} startTarget
 *
 * @typedef {{ tls: boolean, workers: number, withRedis: boolean }} ArenaOptions
 */

/** About what V8 takes in a container of 512 MiB, as the manifests have it. */
const HEAP_MB = 256;

const file = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));

/** What must be stopped or removed in the end, whenever that comes: also while more is being started. */
export function createStops() {
  /** @type {(() => Promise<void>)[]} */
  const stops = [];
  /** @type {Promise<void> | undefined} */
  let stopped;
  const stopAll = async () => {
    for (let stop = stops.pop(); stop !== undefined; stop = stops.pop()) await stop();
  };
  return {
    /** @param {() => Promise<void>} stop */
    add(stop) {
      stops.push(stop);
      if (stopped !== undefined) stopped = stopped.then(stopAll);
    },
    /** The last first. Who interrupts and who cleans up get the same promise: neither may leave before the other is done. */
    stopAll() {
      stopped ??= stopAll();
      return stopped;
    },
  };
}

/**
 * @param {ArenaOptions} options @param {Pick<ReturnType<typeof createStops>, "add">} stops Get every process and directory.
 * @returns {Promise<Arena>}
 */
export async function openArena({ tls, workers, withRedis }, stops) {
  const directory = await mkdtemp(join(tmpdir(), "tilegate-attack-"));
  stops.add(() => rm(directory, { recursive: true, force: true }));
  const postgres = await startPostgres();
  stops.add(async () => postgres[Symbol.asyncDispose]());
  const redis = withRedis ? await startRedis() : undefined;
  if (redis) stops.add(async () => redis[Symbol.asyncDispose]());
  // Empty is absent: without Redis but for the attacks that ask for it.
  const fixture = await createFixture({ databaseUrl: postgres.url, redisUrl: "", directory });
  const certificate = tls ? createCertificate(directory) : {};
  const common = { ...fixture.env, WORKERS: String(workers), ...certificate };

  return {
    fixture,
    databasePorts: [postgres.url, redis?.url].flatMap((url) => (url ? Number(new URL(url).port) : [])),
    async startTarget({ withRedis: asked = false } = {}) {
      const port = await freePort();
      const env = { ...common, PORT: String(port), ...(asked && redis && { REDIS_URL: redis.url }) };
      const node = ["--import", file("probe.mjs"), `--max-old-space-size=${HEAP_MB}`];
      const started = startNode([...node, ...tilegateArgs(["serve"])], { env, channel: true });
      stops.add(started.stop);
      /** @type {string | undefined} */
      let ended;
      const end = started.finished.then(({ stderr }) => {
        ended = reasonOf(stderr);
        return ended;
      });
      await Promise.race([
        untilReady({ port, tls }),
        end.then((reason) => Promise.reject(new Error(reason))),
      ]);
      return {
        port,
        tls,
        pid: started.pid,
        end,
        ended: () => ended,
        longestBlockMs() {
          if (ended !== undefined) return Promise.resolve(Number.NaN);
          const loop = /** @type {Promise<number>} */ (started.hear("loop"));
          started.tell("loop");
          // It may end before it answers.
          return loop.catch(() => Number.NaN);
        },
        stop: started.stop,
      };
    },
  };
}

/** Of what a process said: the line that tells most. @param {string} said */
function reasonOf(said) {
  const telling = /FATAL ERROR.*/.exec(said) ?? /Error:.*/.exec(said);
  return telling?.[0].slice(0, 200) ?? (said.trim().slice(0, 200) || "it was killed");
}

/** @param {string} directory @returns {Record<string, string>} One that signs itself, for this machine. */
function createCertificate(directory) {
  const [key, cert] = [join(directory, "key.pem"), join(directory, "cert.pem")];
  const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  const name = ["-subj", "/CN=tilegate", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"];
  execFileSync("openssl", ["req", ...kind, ...name, "-keyout", key, "-out", cert], { stdio: "ignore" });
  return { TLS_CERT_FILE: cert, TLS_KEY_FILE: key };
}
