import { constants } from "node:http2";
import { setTimeout as delay } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { openSession, openSocket } from "../client.mjs";

const MIB = 1024 * 1024;
const UPSERT = "/tilegate.v1.DatasetService/BatchUpsertDatasets";
const MAX_GROWTH_MB = 64;
const STREAMS = 100;
const REFUSED = 503;

/** @type {import("../stage.mjs").Attack} */
export const inflation = {
  name: "inflation",
  description: "4 connections with 100 requests each, of 4 kB that become 4 MB",
  async run(stage) {
    const { outcome } = await stage.attack(import.meta.url, "inflate");
    return [
      { what: "answered 200", value: outcome.statuses[200] ?? 0, max: 0 },
      { what: "not answered", value: outcome.statuses[0] ?? 0, max: 0 },
      stage.grownAtMost(MAX_GROWTH_MB),
    ];
  },
};

/** Long enough for all that is taken to be taken, and not long enough for a deadline. */
const UPLOADING_MS = 6_000;
const SHORT_UPLOADING_MS = 1_000;

/** @type {readonly import("../stage.mjs").Attack[]} */
export const uploads = /** @type {const} */ (["http2", "http1"]).map((protocol) => ({
  name: `uploads/${protocol}`,
  description: `100 uploads of 4 MB that do not end, over ${protocol === "http2" ? "1 connection" : "HTTP/1.1"}`,
  async run(stage) {
    await stage.attack(import.meta.url, protocol, {
      forMs: stage.short ? SHORT_UPLOADING_MS : UPLOADING_MS,
    });
    const { batches } = await stage.honest();
    return [{ what: "honest failures", value: batches.failed, max: 0 }, stage.grownAtMost(MAX_GROWTH_MB)];
  },
}));

const SLOW_READERS = 200;
const PIPELINED = 5_000;

/** @type {import("../stage.mjs").Attack} */
export const slowReaders = {
  name: "slow-readers",
  description: `${SLOW_READERS} HTTP/1.1 connections that pipeline ${PIPELINED} batches each and read nothing`,
  notShort: true,
  async run(stage) {
    await stage.attack(import.meta.url, "pipeline", {
      count: SLOW_READERS,
      calls: PIPELINED,
      ids: stage.fixture.datasets.map(({ id }) => id),
      forMs: UPLOADING_MS,
    });
    return [{ what: "memory +", value: stage.highestMb() - stage.beforeMb, unit: "MB" }];
  },
};

/** @typedef {import("../client.mjs").Address} Address */

export const attackers = {
  /** @param {Address} address */
  async inflate(address) {
    const blanks = Buffer.alloc(4 * MIB - 100, " ");
    const body = gzipSync(Buffer.concat([blanks, Buffer.from("{}")]), { level: 9 });
    /** @type {Record<number, number>} */
    const statuses = {};
    const sessions = Array.from({ length: 4 }, () => openSession(address));
    const headers = {
      ":method": "POST",
      ":path": UPSERT,
      "content-type": "application/json",
      "content-encoding": "gzip",
    };
    await Promise.all(
      sessions.flatMap((session) =>
        Array.from({ length: STREAMS }, async () => {
          const stream = session.request(headers);
          let status = 0;
          stream.on("response", (received) => {
            status = Number(received[":status"]);
          });
          stream.on("error", () => {});
          stream.resume();
          stream.end(body);
          await new Promise((resolve) => stream.once("close", resolve));
          // What is above the streams of one connection HTTP/2 itself refuses, to be sent again.
          const told = status === 0 && stream.rstCode === constants.NGHTTP2_REFUSED_STREAM ? REFUSED : status;
          statuses[told] = (statuses[told] ?? 0) + 1;
        }),
      ),
    );
    for (const session of sessions) session.close();
    return { outcome: { statuses } };
  },

  /** @param {Address & { forMs: number }} options */
  async http2({ forMs, ...address }) {
    const session = openSession(address);
    const headers = { ":method": "POST", ":path": UPSERT, "content-type": "application/json" };
    for (let index = 0; index < STREAMS; index++) {
      const stream = session.request(headers);
      stream.on("error", () => {});
      stream.resume();
      stream.write(Buffer.alloc(4 * MIB - 1, " "));
    }
    await delay(forMs);
    return { outcome: undefined };
  },

  /** @param {Address & { forMs: number }} options */
  async http1({ forMs, ...address }) {
    const head = `POST ${UPSERT} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${4 * MIB}\r\n\r\n`;
    for (let index = 0; index < STREAMS; index++) {
      const socket = openSocket(address, "http/1.1");
      socket.resume();
      socket.write(head);
      socket.write(Buffer.alloc(4 * MIB - 1, " "));
    }
    await delay(forMs);
    return { outcome: undefined };
  },

  /** @param {Address & { count: number, calls: number, ids: string[], forMs: number }} options */
  async pipeline({ count, calls, ids, forMs, ...address }) {
    const body = JSON.stringify({ dataset_ids: ids });
    const head = "POST /tilegate.v1.TileTokenService/BatchGetTileTokens HTTP/1.1\r\nHost: a\r\n";
    const request = `${head}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const all = Buffer.from(request.repeat(100));
    for (let index = 0; index < count; index++) {
      const socket = openSocket(address, "http/1.1");
      // Without a listener for data nothing is read.
      for (let sent = 0; sent < calls; sent += 100) socket.write(all);
    }
    await delay(forMs);
    return { outcome: undefined };
  },
};
