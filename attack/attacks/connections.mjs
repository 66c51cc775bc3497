import { setTimeout as delay } from "node:timers/promises";
import { grpcFrame } from "../../harness/grpc-frame.mjs";
import {
  ACK,
  connectEvent,
  connected,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  INITIAL_WINDOW,
  openSocket,
  preface,
  requestHeaders,
  SETTINGS,
} from "../client.mjs";

const CHECK = "/grpc.health.v1.Health/Check";
const EMPTY_MESSAGE = grpcFrame(Buffer.alloc(0));

const COUNT = 1_200;
const SHORT_COUNT = 60;

/** How a client goes away, and whether it still listens. Finding 2 of the attacks names each. */
const KINDS = {
  FIN: { bytes: preface(), awaitsAnswer: false, staysHalfOpen: false },
  "nothing sent": { bytes: Buffer.alloc(0), awaitsAnswer: false, staysHalfOpen: false },
  "SETTINGS acknowledged": {
    bytes: Buffer.concat([preface(), frame(SETTINGS, ACK, 0)]),
    awaitsAnswer: true,
    staysHalfOpen: false,
  },
  "one answered call": {
    bytes: Buffer.concat([preface(), checkCall()]),
    awaitsAnswer: true,
    staysHalfOpen: false,
  },
  "half-closed and alive": {
    bytes: Buffer.concat([preface(), checkCall()]),
    awaitsAnswer: true,
    staysHalfOpen: true,
  },
};

function checkCall() {
  return Buffer.concat([
    frame(HEADERS, END_HEADERS, 1, requestHeaders(CHECK, "application/grpc")),
    frame(DATA, END_STREAM, 1, EMPTY_MESSAGE),
  ]);
}

/** @type {import("../stage.mjs").Attack} */
export const fin = {
  name: "fin",
  description: `${COUNT} connections of each kind that their clients close by FIN`,
  async run(stage) {
    const count = stage.short ? SHORT_COUNT : COUNT;
    for (const kind of Object.keys(KINDS)) await stage.attack(import.meta.url, "leave", { kind, count });
    return [
      { what: "closed by FIN", value: count * Object.keys(KINDS).length },
      { what: "descriptors 5 s later", value: await stage.settle(), max: 0 },
    ];
  },
};

/** Above what a server should hold: its maximum is 4,096. */
const FLOOD = 6_000;
const FLOODING_MS = 5_000;

/** @type {import("../stage.mjs").Attack} */
export const connectionFlood = {
  name: "connection-flood",
  description: `${FLOOD} connections at once, half of them HTTP/1.1, half HTTP/2`,
  notShort: true,
  async run(stage) {
    const attacker = await stage.attack(import.meta.url, "flood", { count: FLOOD });
    await delay(FLOODING_MS);
    const { open, told, closed } = await attacker.watch();
    return [
      { what: "open", value: open },
      { what: "told", value: told },
      { what: "closed", value: closed },
    ];
  },
};

const ENDLESS = 50;
const ENDLESS_FOR_MS = 20_000;

/** @type {import("../stage.mjs").Attack} */
export const endlessHeaders = {
  name: "endless-headers",
  description: `${ENDLESS} HTTP/2 connections with a header block that does not end`,
  notShort: true,
  async run(stage) {
    const { outcome } = await stage.attack(import.meta.url, "endless", {
      count: ENDLESS,
      forMs: ENDLESS_FOR_MS,
    });
    return [
      { what: "still open after 20 s", value: outcome.open },
      { what: "last closed after", value: outcome.lastClosedMs / 1000, unit: "s" },
    ];
  },
};

/** @typedef {import("../client.mjs").Address} Address */

/** So many at once, for a listener's queue of them. */
const AT_ONCE = 100;

export const attackers = {
  /** Resolves once all have sent FIN. @param {Address & { kind: keyof typeof KINDS, count: number }} options */
  async leave({ kind, count, ...address }) {
    const { bytes, awaitsAnswer, staysHalfOpen } = KINDS[kind];
    const leaveOne = async () => {
      const socket = openSocket(address, "h2");
      await new Promise((resolve) => {
        socket.once("close", resolve);
        socket.once(connectEvent(address), () => {
          socket.write(bytes);
          if (!awaitsAnswer) resolve(undefined);
        });
        socket.once("data", resolve);
      });
      if (staysHalfOpen) {
        socket.resume();
        socket.end();
        return;
      }
      // Its own side is closed as well: the process keeps none.
      await new Promise((resolve) => {
        socket.once("close", resolve);
        socket.end(() => socket.destroy());
      });
    };
    for (let done = 0; done < count; done += AT_ONCE) {
      await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - done) }, leaveOne));
    }
    return { outcome: undefined };
  },

  /** @param {Address & { count: number }} options */
  async flood({ count, ...address }) {
    const counts = { told: 0, closed: 0 };
    const openOne = async (/** @type {number} */ index) => {
      const isHttp2 = index % 2 === 0;
      const socket = openSocket(address, isHttp2 ? "h2" : "http/1.1");
      let isTold = false;
      socket.on("data", (/** @type {Buffer} */ chunk) => {
        // 503, or the GOAWAY that comes after SETTINGS.
        isTold ||= chunk.includes(isHttp2 ? Buffer.of(7, 0, 0, 0, 0, 0) : " 503 ");
      });
      socket.on("end", () => socket.end());
      socket.on("close", () => {
        if (isTold) counts.told += 1;
        else counts.closed += 1;
      });
      await connected(socket, address);
      if (!socket.destroyed) socket.write(isHttp2 ? preface() : "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    };
    for (let opened = 0; opened < count; opened += AT_ONCE) {
      await Promise.all(Array.from({ length: AT_ONCE }, (_, index) => openOne(index)));
    }
    return { outcome: undefined, watch: () => ({ open: count - counts.told - counts.closed, ...counts }) };
  },

  /** @param {Address & { count: number, forMs: number }} options */
  async endless({ count, forMs, ...address }) {
    const began = performance.now();
    let lastClosedMs = 0;
    let open = count;
    const unfinished = frame(HEADERS, 0, 1, requestHeaders(CHECK, "application/grpc"));
    const bytes = Buffer.concat([preface({ [INITIAL_WINDOW]: 65_535 }), unfinished]);
    for (let index = 0; index < count; index++) {
      const socket = openSocket(address, "h2");
      socket.resume();
      socket.write(bytes);
      socket.on("end", () => socket.destroy());
      socket.on("close", () => {
        open -= 1;
        lastClosedMs = performance.now() - began;
      });
    }
    while (open > 0 && performance.now() - began < forMs) await delay(100);
    return { outcome: { open, lastClosedMs } };
  },
};
