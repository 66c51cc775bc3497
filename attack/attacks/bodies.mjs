import { abusiveRequests } from "../bodies.mjs";
import { call, callGrpc, createAgent, openSession } from "../client.mjs";

const KIB = 1024;
/** The service's limits, those that it had, and what lies between. */
const SIZES = [64 * KIB, 1024 * KIB, 4096 * KIB];
/** Of these, the smallest is decoded and the largest refused unread. */
const SHORT_SIZES = [64 * KIB, 4096 * KIB];
const SHORT_METHODS = ["BatchUpsertDatasets", "CreateDataset", "BatchGetTileTokens"];
const SHORT_ENCODINGS = ["identity", "gzip"];
const TOLD = 8;
/** Each blocks a server that is not protected for seconds. */
const GIVE_UP_AFTER_MS = 150_000;
const SHORT_GIVE_UP_AFTER_MS = 20_000;

const MAX_REFUSAL_MS = 50;
const MAX_BLOCK_MS = 50;
const MAX_GROWTH_MB = 20;

/** @type {import("../stage.mjs").Attack} */
export const bodies = {
  name: "bodies",
  description:
    "each method's most expensive bodies, one after the other, by a stranger and by a service token",
  async run(stage) {
    const { outcome } = await stage.attack(import.meta.url, "oneAfterTheOther", {
      serviceToken: stage.fixture.serviceToken,
      giveUpAfterMs: stage.short ? SHORT_GIVE_UP_AFTER_MS : GIVE_UP_AFTER_MS,
      ...(stage.short
        ? { sizes: SHORT_SIZES, only: SHORT_METHODS, encodings: SHORT_ENCODINGS }
        : { sizes: SIZES }),
    });
    return [
      { what: "bodies", value: outcome.tried },
      { what: "not tried in time", value: outcome.isComplete ? 0 : 1, max: 0, timed: true },
      { what: "not refused", value: outcome.granted.length, max: 0, details: outcome.granted.slice(0, TOLD) },
      {
        what: "slowest refusal",
        value: outcome.slowest[0]?.milliseconds ?? 0,
        max: MAX_REFUSAL_MS,
        unit: "ms",
        timed: true,
        details: outcome.slowest
          .slice(0, TOLD)
          .map((/** @type {Refusal} */ { name, milliseconds }) => `${Math.round(milliseconds)} ms: ${name}`),
      },
      { what: "block", value: await stage.longestBlockMs(), max: MAX_BLOCK_MS, unit: "ms", timed: true },
      stage.grownAtMost(MAX_GROWTH_MB),
    ];
  },
};

const CALLS_ON_SESSION = 50;

const AT_ONCE = 100;
const VOLLEYS = 3;
const MAX_HONEST_P99_MS = 100;

/** @type {import("../stage.mjs").Attack} */
export const hundredBodies = {
  name: "bodies-100",
  description: "100 of them at once, three times over",
  async run(stage) {
    const { outcome } = await stage.attack(import.meta.url, "atOnce", {
      volleys: stage.short ? 1 : VOLLEYS,
      sizes: [SIZES.at(-1)],
      only: SHORT_METHODS,
    });
    const { batches } = await stage.honest();
    return [
      { what: "not refused", value: outcome.granted.length, max: 0, details: outcome.granted.slice(0, TOLD) },
      { what: "honest p99", value: batches.p99Ms, max: MAX_HONEST_P99_MS, unit: "ms", timed: true },
      { what: "honest failures", value: batches.failed, max: 0 },
    ];
  },
};

/** @typedef {{ name: string, milliseconds: number }} Refusal */

/** @param {{ status: number, failure: string | undefined }} answer */
const isGranted = ({ status, failure }) =>
  (status >= 200 && status < 300) || (failure !== undefined && !CLOSED.has(failure));

/** A server may close instead of reading on. No answer at all is none. */
const CLOSED = new Set(["ECONNRESET", "EPIPE"]);

export const attackers = {
  /**
   * @param {import("../client.mjs").Address & Parameters<typeof abusiveRequests>[0] & { serviceToken: string,
   *   giveUpAfterMs: number }} options
   */
  async oneAfterTheOther({ port, tls, serviceToken, giveUpAfterMs, ...which }) {
    const address = { port, tls };
    const agent = createAgent(address, { keepAlive: true, maxSockets: 1 });
    let session = openSession(address);
    /** @type {Refusal[]} */
    const refusals = [];
    /** @type {string[]} */
    const granted = [];
    const end = performance.now() + giveUpAfterMs;
    let onSession = 0;
    let isComplete = true;
    const callers = { "a stranger": {}, "a service token": { authorization: `Bearer ${serviceToken}` } };
    for await (const request of abusiveRequests(which)) {
      for (const [caller, credential] of Object.entries(callers)) {
        const asked = { ...request, agent, headers: { ...request.headers, ...credential } };
        const answer = await (request.protocol === "grpc" ? callGrpc(session, asked) : call(address, asked));
        // What was not answered may still be on its way there, and what was not sent is kept here.
        if (
          request.protocol === "grpc" &&
          (answer.failure !== undefined || ++onSession === CALLS_ON_SESSION)
        ) {
          session.destroy();
          session = openSession(address);
          onSession = 0;
        }
        const name = `${request.name}, by ${caller}`;
        if (isGranted(answer)) granted.push(`${answer.failure ?? answer.status}: ${name}`);
        refusals.push({ name, milliseconds: answer.milliseconds });
      }
      if (performance.now() > end) {
        isComplete = false;
        break;
      }
    }
    agent.destroy();
    session.close();
    const slowest = refusals.sort((a, b) => b.milliseconds - a.milliseconds).slice(0, TOLD);
    return { outcome: { tried: refusals.length, isComplete, granted, slowest } };
  },

  /** @param {import("../client.mjs").Address & { sizes: number[], only: string[], volleys: number }} options */
  async atOnce({ port, tls, sizes, only, volleys }) {
    const address = { port, tls };
    /** @type {import("../bodies.mjs").Request[]} */
    const requests = [];
    for await (const request of abusiveRequests({ sizes, only })) {
      // What is compressed costs its sender nothing.
      if (request.protocol === "http" && Buffer.byteLength(request.body ?? "") < KIB * 16)
        requests.push(request);
    }
    /** @type {string[]} */
    const granted = [];
    for (let volley = 0; volley < volleys; volley++) {
      const sent = Array.from({ length: AT_ONCE }, async (_, index) => {
        const request = requests[(volley * AT_ONCE + index) % requests.length];
        if (request === undefined) return;
        const answer = await call(address, request);
        if (isGranted(answer)) granted.push(`${answer.failure ?? answer.status}: ${request.name}`);
      });
      await Promise.all(sent);
    }
    return { outcome: { granted } };
  },
};
