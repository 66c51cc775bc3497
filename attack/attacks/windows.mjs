import { setTimeout as delay } from "node:timers/promises";
import { parseFrames } from "../../bench/generator/http2-frames.mjs";
import { grpcFrame } from "../../harness/grpc-frame.mjs";
import {
  ACK,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  INITIAL_WINDOW,
  openSocket,
  PING,
  preface,
  RST_STREAM,
  requestHeaders,
  SETTINGS,
} from "../client.mjs";
import { REFLECTION, REFLECTION_MESSAGE } from "./reflection.mjs";

const CONNECTIONS = 300;
const SHORT_CONNECTIONS = 60;
const STREAMS = 100;
const BATCH = 23;

const MAX_GROWTH_MB = 100;
const MAX_TOLD_TO_COME_BACK = 5;
const GONE_WITHIN_MS = 35_000;
const SHORT_HELD_MS = 1_000;
const READ_WITHIN_MS = 10_000;

/**
 * @typedef {object} Kind
 * @property {string} name
 * @property {number} window Of each stream, to begin with. Nobody makes it larger.
 * @property {boolean} isWhole Whether the request ends.
 * @property {(ids: readonly string[]) => { path: string, contentType: string, body: Buffer }} request
 */

/** @type {readonly Kind[]} */
const KINDS = [
  { name: "batch", window: 0, isWhole: true, request: batch },
  { name: "reflection", window: 0, isWhole: false, request: () => reflection(1) },
  { name: "reflection-50", window: 0, isWhole: false, request: () => reflection(50) },
  {
    name: "watch",
    window: 0,
    isWhole: true,
    request: () => ({
      path: "/grpc.health.v1.Health/Watch",
      contentType: "application/grpc",
      body: grpcFrame(Buffer.alloc(0)),
    }),
  },
  // The connection's own window, 65,535 bytes, is used up by the first of them.
  { name: "default-window", window: 65_535, isWhole: true, request: batch },
];

/** @param {readonly string[]} ids */
function batch(ids) {
  const body = Buffer.from(JSON.stringify({ dataset_ids: ids.slice(0, BATCH) }));
  return { path: "/tilegate.v1.TileTokenService/BatchGetTileTokens", contentType: "application/json", body };
}

/** @param {number} messages */
const reflection = (messages) => ({
  path: REFLECTION,
  contentType: "application/grpc",
  body: Buffer.concat(Array.from({ length: messages }, () => REFLECTION_MESSAGE)),
});

/** @type {readonly import("../stage.mjs").Attack[]} */
export const zeroWindow = KINDS.map(({ name, window }) => ({
  name: `zero-window/${name}`,
  description: `${CONNECTIONS} connections × ${STREAMS} streams with a window of ${window} that stays, ${name}`,
  async run(stage) {
    const began = performance.now();
    const attacker = await stage.attack(import.meta.url, "hold", {
      kind: name,
      connections: stage.short ? SHORT_CONNECTIONS : CONNECTIONS,
      ids: stage.fixture.datasets.map(({ id }) => id),
    });
    await delay(stage.short ? SHORT_HELD_MS : Math.max(0, GONE_WITHIN_MS - (performance.now() - began)));
    const { open, ended } = await attacker.watch();
    const { batches, probes } = await stage.honest();
    return [
      { what: "answered or refused", value: ended },
      { what: "open after 35 s", value: open, max: 0, unit: "streams", timed: true },
      // Which calls meet the first moment of the flood is a matter of time.
      {
        what: "honest calls told to come back",
        value: batches.toldToComeBack + probes.toldToComeBack,
        max: MAX_TOLD_TO_COME_BACK,
        timed: true,
      },
      { what: "new clients not served", value: unserved(probes), max: 0 },
      { what: "honest calls not served", value: unserved(batches), max: 0 },
      stage.grownAtMost(MAX_GROWTH_MB),
    ];
  },
}));

/** Not even a second later. @param {import("../honest.mjs").Report} report */
const unserved = ({ failed, toldToComeBack }) => failed - toldToComeBack;

export const attackers = {
  /**
   * @param {import("../client.mjs").Address & { kind: string, connections: number, ids: string[] }} options
   */
  async hold({ kind: name, connections, ids, ...address }) {
    const kind = KINDS.find((each) => each.name === name);
    if (kind === undefined) throw new Error(`no such kind: ${name}`);
    const { path, contentType, body } = kind.request(ids);
    const head = requestHeaders(path, contentType, { te: "trailers" });
    const opening = Buffer.concat([
      preface({ [INITIAL_WINDOW]: kind.window }),
      ...Array.from({ length: STREAMS }, (_, index) => [
        frame(HEADERS, END_HEADERS, 1 + 2 * index, head),
        frame(DATA, kind.isWhole ? END_STREAM : 0, 1 + 2 * index, body),
      ]).flat(),
      // Its acknowledgement tells that all of it has been read.
      frame(PING, 0, 0, Buffer.alloc(8)),
    ]);
    const counts = { open: connections * STREAMS, ended: 0 };
    const holdOne = (/** @type {() => void} */ isRead) => {
      const socket = openSocket(address, "h2");
      const streams = new Set(Array.from({ length: STREAMS }, (_, each) => 1 + 2 * each));
      const ended = (/** @type {number} */ stream) => {
        if (!streams.delete(stream)) return;
        counts.open -= 1;
        counts.ended += 1;
      };
      const parse = parseFrames({
        wants: (type) => type === PING,
        onFrame(type, flags, stream, _length, payload) {
          // A client that hides nothing but its window.
          if (type === SETTINGS && (flags & ACK) === 0) socket.write(frame(SETTINGS, ACK, 0));
          if (type === PING && (flags & ACK) === 0) socket.write(frame(PING, ACK, 0, payload));
          else if (type === PING) isRead();
          const isEnd = (type === DATA || type === HEADERS) && (flags & END_STREAM) !== 0;
          if (isEnd || type === RST_STREAM) ended(stream);
        },
      });
      socket.on("data", (/** @type {Buffer} */ chunk) => parse(chunk, chunk.length));
      socket.on("end", () => socket.end());
      socket.on("close", () => {
        for (const stream of streams) ended(stream);
        isRead();
      });
      socket.write(opening);
    };
    const allRead = Array.from(
      { length: connections },
      () => new Promise((resolve) => holdOne(() => resolve(undefined))),
    );
    await Promise.race([Promise.all(allRead), delay(READ_WITHIN_MS)]);
    return { outcome: undefined, watch: () => counts };
  },
};
