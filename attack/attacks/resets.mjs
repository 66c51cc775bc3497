import { setTimeout as delay } from "node:timers/promises";
import { parseFrames } from "../../bench/generator/http2-frames.mjs";
import {
  ACK,
  connected,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  openSocket,
  PING,
  preface,
  RST_STREAM,
  requestHeaders,
  uint32,
} from "../client.mjs";

const CONNECTIONS = 200;
/** So many are opened together. */
const AT_ONCE = 20;
/** Below 33, at which nghttp2 ends the connection. */
const PER_SECOND = 30;
const SECONDS = 10;
const BATCH = 23;
const READ_WITHIN_MS = 60_000;
const [CANCEL, WINDOW_UPDATE] = [8, 8];

const MAX_RATIO = 1.2;
const MAX_PROBE_P99_MS = 100;

/** How calls are aborted; `answered` are not. */
const KINDS = /** @type {const} */ (["answered", "headers", "half a body"]);

/** @type {import("../stage.mjs").Attack} */
export const resets = {
  name: "resets",
  description: `${CONNECTIONS} connections that begin and reset ${PER_SECOND} calls a second each, against calls that are answered`,
  async run(stage) {
    /** @type {Record<string, number>} */
    const cpuMs = {};
    for (const kind of KINDS) {
      const before = stage.attackedCpuSeconds();
      const { outcome, stop } = await stage.attack(import.meta.url, "abort", {
        kind,
        connections: stage.short ? CONNECTIONS / 10 : CONNECTIONS,
        seconds: stage.short ? 1 : SECONDS,
        ids: stage.fixture.datasets.slice(0, BATCH).map(({ id }) => id),
      });
      cpuMs[kind] = ((stage.attackedCpuSeconds() - before) * 1000) / outcome.calls;
      await stop();
    }
    const { answered = Number.NaN, ...aborted } = cpuMs;
    const { batches, probes } = await stage.honest();
    return [
      { what: "an answered call", value: answered, unit: "ms CPU" },
      ...Object.entries(aborted).map(([kind, value]) => ({
        what: `reset after ${kind}`,
        value: value / answered,
        max: MAX_RATIO,
        unit: "×",
        timed: true,
      })),
      { what: "probe p99", value: probes.p99Ms, max: MAX_PROBE_P99_MS, unit: "ms", timed: true },
      { what: "honest failures", value: batches.failed + probes.failed, max: 0 },
    ];
  },
};

export const attackers = {
  /**
   * @param {import("../client.mjs").Address & { kind: (typeof KINDS)[number], connections: number, seconds: number,
   *   ids: string[] }} options
   */
  async abort({ kind, connections, seconds, ids, ...address }) {
    const body = Buffer.from(JSON.stringify({ dataset_ids: ids }));
    const head = requestHeaders("/tilegate.v1.TileTokenService/BatchGetTileTokens", "application/json");
    const rounds = seconds * PER_SECOND;
    const callOf = (/** @type {number} */ stream) => {
      const begun = frame(HEADERS, END_HEADERS, stream, head);
      if (kind === "answered") return Buffer.concat([begun, frame(DATA, END_STREAM, stream, body)]);
      const half =
        kind === "headers" ? Buffer.alloc(0) : frame(DATA, 0, stream, body.subarray(0, body.length / 2));
      return Buffer.concat([begun, half, frame(RST_STREAM, 0, stream, uint32(CANCEL))]);
    };
    /** @type {Promise<void>[]} */
    const allRead = [];
    const open = async () => {
      const socket = openSocket(address, "h2");
      const isRead = new Promise((/** @type {(value: void) => void} */ resolve) => {
        const parse = parseFrames({
          wants: () => false,
          onFrame: (type, flags) => type === PING && (flags & ACK) !== 0 && resolve(),
        });
        socket.on("data", (/** @type {Buffer} */ chunk) => parse(chunk, chunk.length));
        socket.on("close", () => resolve());
      });
      allRead.push(isRead);
      // Answers find a window as large as it gets.
      socket.write(
        Buffer.concat([
          preface({ 4: 2 ** 31 - 1 }),
          frame(WINDOW_UPDATE, 0, 0, uint32(2 ** 31 - 1 - 65_535)),
        ]),
      );
      await connected(socket, address);
      return socket;
    };
    /** @type {import("node:net").Socket[]} */
    const sockets = [];
    // Resets are tried here, and not a burst of handshakes.
    while (sockets.length < connections)
      sockets.push(...(await Promise.all(Array.from({ length: AT_ONCE }, open))));
    const began = performance.now();
    for (let round = 0; round < rounds; round++) {
      const bytes = callOf(1 + 2 * round);
      // Spread over the round, not in one burst.
      for (const [index, socket] of sockets.entries()) {
        const at = began + ((round + index / connections) * 1000) / PER_SECOND;
        if (at > performance.now() + 2) await delay(at - performance.now());
        socket.write(bytes);
      }
    }
    // Its acknowledgement tells that all before it has been read; what that set off may take a little longer.
    for (const socket of sockets) socket.write(frame(PING, 0, 0, Buffer.alloc(8)));
    await Promise.race([Promise.all(allRead), delay(READ_WITHIN_MS)]);
    await delay(500);
    return { outcome: { calls: connections * rounds } };
  },
};
