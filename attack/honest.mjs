// The honest clients, a process of their own: a map that asks for batches over connections that it keeps, and a prober
// that opens one each time. They begin at a fixed rate, and their time counts from when they were to begin. Who is told to come
// back does so, once.
import http from "node:http";
import https from "node:https";
import { percentile } from "../bench/statistics.mjs";

/**
 * @typedef {{ port: number, tls: boolean, ids: readonly string[] }} HonestOptions
 * @typedef {{ calls: number, failed: number, toldToComeBack: number, p99Ms: number, maxMs: number,
 *   failures: Record<string, number> }} Report One that is not answered yet counts with its age. `failed` counts those, too, that
 *   were served when they came back.
 */

const BATCHES_EVERY_MS = 20;
const PROBES_EVERY_MS = 100;
const GIVE_UP_AFTER_MS = 30_000;
/** Beyond that, calls that the server leaves unanswered would measure this process. */
const MAX_OPEN = 1_000;
/** As Retry-After says. */
const COME_BACK_AFTER_MS = 1_000;
const OVERLOADED = "503";

function createClient() {
  /** @type {number[]} */
  let times = [];
  /** @type {Record<string, number>} */
  let failures = {};
  /** @type {Set<{ began: number }>} */
  const open = new Set();
  let toldToComeBack = 0;
  const fail = (/** @type {string} */ why) => {
    failures[why] = (failures[why] ?? 0) + 1;
  };
  return {
    /** @param {(done: (failure?: string) => void) => void} send @param {number} began */
    call(send, began) {
      if (open.size >= MAX_OPEN) {
        fail("not sent: too many unanswered");
        return;
      }
      const call = { began };
      open.add(call);
      let isAgain = false;
      const done = (/** @type {string | undefined} */ failure) => {
        if (failure === OVERLOADED && !isAgain) {
          isAgain = true;
          toldToComeBack += 1;
          setTimeout(send, COME_BACK_AFTER_MS, done);
        } else if (open.delete(call)) {
          times.push(performance.now() - began);
          if (failure !== undefined) fail(failure);
        }
      };
      send(done);
    },
    reset() {
      times = [];
      failures = {};
      toldToComeBack = 0;
    },
    /** @returns {Report} */
    report() {
      const now = performance.now();
      const all = [...times, ...Array.from(open, ({ began }) => now - began)];
      return {
        calls: all.length,
        toldToComeBack,
        failed: Object.values(failures).reduce((sum, each) => sum + each, toldToComeBack),
        p99Ms: percentile(all, 0.99),
        maxMs: Math.max(0, ...all),
        failures,
      };
    },
  };
}

/** @param {HonestOptions} options */
function start({ port, tls, ids }) {
  const { Agent, request } = tls ? https : http;
  const agent = new Agent({ keepAlive: true, maxSockets: 32 });
  const body = JSON.stringify({ dataset_ids: ids });
  const [batches, probes] = [createClient(), createClient()];
  const common = { port, host: "127.0.0.1", rejectUnauthorized: false };

  /** @param {import("node:https").RequestOptions} options @param {string} [content] */
  const ask = (options, content) => (/** @type {(failure?: string) => void} */ done) => {
    const signal = AbortSignal.timeout(GIVE_UP_AFTER_MS);
    const sent = request({ ...common, ...options, signal }, (response) => {
      response.on("error", (error) => done(String(error)));
      response.on("end", () => done(response.statusCode === 200 ? undefined : String(response.statusCode)));
      response.resume();
    });
    sent.on("error", (error) => done(Reflect.get(error, "code") ?? error.message));
    sent.end(content);
  };
  const batch = ask(
    {
      agent,
      method: "POST",
      path: "/tilegate.v1.TileTokenService/BatchGetTileTokens",
      headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
    },
    body,
  );
  const probe = ask({ agent: false, path: "/healthz" });

  every(BATCHES_EVERY_MS, (began) => batches.call(batch, began));
  every(PROBES_EVERY_MS, (began) => probes.call(probe, began));
  return { batches, probes };
}

/** @param {number} intervalMs @param {(began: number) => void} launch */
function every(intervalMs, launch) {
  let next = performance.now();
  setInterval(() => {
    for (const now = performance.now(); next <= now; next += intervalMs) launch(next);
  }, 5);
}

/** @type {ReturnType<typeof start> | undefined} */
let clients;
process.on("message", (/** @type {any} */ message) => {
  if (message === "reset") {
    clients?.batches.reset();
    clients?.probes.reset();
  } else if (message === "report") {
    process.send?.({ report: { batches: clients?.batches.report(), probes: clients?.probes.report() } });
  } else if (message.start !== undefined) {
    clients = start(message.start);
  }
});
process.send?.({ ready: true });
