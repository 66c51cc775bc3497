// The load generator: a process of its own, told over its IPC channel what to send.
import { openHttp1 } from "./http1.mjs";
import { openHttp2, prepareHttp2 } from "./http2.mjs";

/**
 * @typedef {{ protocol: "http1", bytes: Buffer }
 *   | { protocol: "http2", headers: readonly (readonly [string, string])[], body: Buffer }} Request
 * @typedef {{ bytes: Buffer, dataIdAt: number, bodyBytes: number }} Prepared
 * @typedef {(slot: number, status: number, bodyBytes: number, sample: Buffer | undefined) => void} OnDone
 * @typedef {{ send(slot: number, request: Prepared, capture: boolean): void, close(): void }} Transport
 *
 * @typedef {object} Job
 * @property {number} port
 * @property {readonly Request[]} requests
 * @property {readonly number[]} [order] Indexes of requests, sent in turn, again and again. Default: each once.
 * @property {number} seconds
 * @property {number} [inFlight] Calls in flight, each on a connection of its own over HTTP/1.1, 8 on one over HTTP/2.
 *   Default 32.
 * @property {number} [maxCalls]
 * @property {number} [callsPerSecond] Open loop: calls begin at this rate, whether or not earlier ones are done.
 *
 * @typedef {object} Outcome
 * @property {number} calls
 * @property {number} seconds
 * @property {number} cpuSeconds The generator's own.
 * @property {readonly Buffer[]} samples The first answer to each request, while there are at most 20.
 * @property {{ p50: number, p99: number, p999: number, max: number }} [milliseconds] Open loop: from the moment at
 *   which a call was to begin.
 */

const MAX_SAMPLES = 20;
/** In place of a request: none is in flight. */
const NONE = -1;
/** How late a timer may be. */
const COARSE_MS = 2;
/** Sizes differ by a digit of expires_in; an error's body is far smaller. */
const SIZE_TOLERANCE = 0.05;

/** @param {Job} job @returns {Promise<Outcome>} */
async function run(job) {
  const { port, requests, seconds, inFlight = 32, maxCalls = Number.POSITIVE_INFINITY, callsPerSecond } = job;
  const order = job.order ?? requests.map((_, index) => index);
  const isOpen = callsPerSecond !== undefined;

  /** @type {(error: Error) => void} */
  let onFail = () => {};
  /** @type {() => void} */
  let onOver = () => {};
  const over = new Promise((resolve, reject) => {
    onFail = reject;
    onOver = () => resolve(undefined);
  });
  over.catch(() => {});

  const options = { port, onDone, onFail };
  const protocols = new Set(requests.map(({ protocol }) => protocol));
  const http1 = protocols.has("http1") ? await openHttp1({ ...options, connections: inFlight }) : undefined;
  const connections = Math.max(1, inFlight / 8);
  const http2 = protocols.has("http2") ? await openHttp2({ ...options, connections, streams: 8 }) : undefined;
  const prepared = requests.map((request) =>
    request.protocol === "http2"
      ? prepareHttp2(request)
      : { bytes: request.bytes, dataIdAt: 0, bodyBytes: 0 },
  );
  const transports = requests.map(({ protocol }) => (protocol === "http1" ? http1 : http2));

  /** @type {Buffer[]} */
  const samples = [];
  /** @type {number[]} */
  const expectedBytes = [];
  /** By slot: which request is in flight there, and when it was to begin. @type {number[]} */
  const requestOf = [];
  /** @type {number[]} */
  const beganAt = [];
  /** @type {number[]} */
  const freeSlots = [];
  const latencies = isOpen ? new Float64Array(Math.ceil(callsPerSecond * seconds) + 1) : new Float64Array();
  let slots = 0;
  let sent = 0;
  let calls = 0;
  /** Open loop: no call will begin any more. */
  let allSent = false;

  /** @param {number} slot @param {number} intended */
  function launch(slot, intended) {
    const request = order[sent % order.length] ?? 0;
    const capture = sent < Math.min(order.length, MAX_SAMPLES);
    sent += 1;
    requestOf[slot] = request;
    beganAt[slot] = intended;
    const [transport, bytes] = [transports[request], prepared[request]];
    if (transport && bytes) transport.send(slot, bytes, capture);
  }

  /** @type {OnDone} */
  function onDone(slot, status, bodyBytes, sample) {
    const request = requestOf[slot] ?? 0;
    requestOf[slot] = NONE;
    if (sample) samples[request] ??= sample;
    expectedBytes[request] ??= bodyBytes;
    const expected = expectedBytes[request];
    if (status !== 200 || Math.abs(bodyBytes - expected) > expected * SIZE_TOLERANCE + 8) {
      onFail(new Error(`status ${status}, ${bodyBytes} bytes instead of ${expected}: ${sample ?? ""}`));
      return;
    }
    const now = performance.now();
    if (isOpen) {
      latencies[calls] = now - (beganAt[slot] ?? now);
      freeSlots.push(slot);
    } else if (now < endsAt && sent < maxCalls) launch(slot, now);
    calls += 1;
    if (calls === sent && (!isOpen || allSent)) onOver();
  }

  const cpuBefore = process.cpuUsage();
  const beganRun = performance.now();
  const endsAt = beganRun + seconds * 1000;
  if (isOpen) {
    const interval = 1000 / callsPerSecond;
    let next = beganRun;
    // Timers may be late by more than a millisecond, which would count as the server's: the last of the wait burns the core, and
    // the rest leaves it to others.
    const wait = () => {
      const left = next - performance.now();
      if (left > COARSE_MS) setTimeout(tick, left - COARSE_MS);
      else setImmediate(tick);
    };
    const tick = () => {
      const now = performance.now();
      for (; next <= now && next < endsAt; next += interval) launch(freeSlots.pop() ?? slots++, next);
      if (next < endsAt) wait();
      else {
        allSent = true;
        if (calls === sent) onOver();
      }
    };
    tick();
  } else {
    for (let slot = 0; slot < Math.min(inFlight, maxCalls); slot++) launch(slot, beganRun);
  }

  let callsBefore = -1;
  const watch = setInterval(() => {
    const unanswered = requestOf.filter((request) => request !== NONE);
    if (calls === callsBefore) onFail(new Error(`no answer for 10 s to requests ${unanswered}`));
    callsBefore = calls;
  }, 10_000);
  try {
    await over;
  } finally {
    clearInterval(watch);
    http1?.close();
    http2?.close();
  }
  const cpu = process.cpuUsage(cpuBefore);
  return {
    calls,
    seconds: (performance.now() - beganRun) / 1000,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    samples,
    ...(isOpen && { milliseconds: percentiles(latencies.subarray(0, calls).sort()) }),
  };
}

/** @param {Float64Array} sorted */
function percentiles(sorted) {
  const at = (/** @type {number} */ share) =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1) };
}

process.on("message", async (/** @type {Job} */ job) => {
  try {
    process.send?.({ outcome: await run(job) });
  } catch (error) {
    process.send?.({ error: String(error) });
  }
});
process.send?.({ ready: true });
