import { setTimeout as delay } from "node:timers/promises";
import { grpcFrame } from "../../harness/grpc-frame.mjs";
import { openSession } from "../client.mjs";

export const REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/** file_containing_symbol of what imports most: 35 bytes that ask for 72 kB. */
export const REFLECTION_MESSAGE = grpcFrame(
  Buffer.concat([Buffer.of(0x22, 28), Buffer.from("tilegate.v1.TileTokenService")]),
);

/** Messages a stream, against the answer's compression. */
const CASES = [1, 50].flatMap((perStream) =>
  ["identity", "gzip", "br"].map((encoding) => ({ perStream, encoding })),
);
const MESSAGES = 2_000;
const SHORT_MESSAGES = 100;
/** Brotli at full quality would take minutes for all of them. */
const GIVE_UP_AFTER_MS = 15_000;
const SHORT_GIVE_UP_AFTER_MS = 1_500;
const MAX_CPU_MS = 1;
/** Of an answer, where a stream asks for the same again and again: what it was sent once it need not be sent twice. */
const MAX_REPEATED_KB = 10;

/** @type {import("../stage.mjs").Attack} */
export const reflection = {
  name: "reflection",
  description: "reflection by messages of 35 bytes, one a stream and 50, in each compression",
  async run(stage) {
    /** @type {import("../stage.mjs").Check[]} */
    const checks = [];
    for (const { perStream, encoding } of CASES) {
      const before = stage.attackedCpuSeconds();
      const { outcome, stop } = await stage.attack(import.meta.url, "reflect", {
        perStream,
        encoding,
        messages: stage.short ? SHORT_MESSAGES : MESSAGES,
        forMs: stage.short ? SHORT_GIVE_UP_AFTER_MS : GIVE_UP_AFTER_MS,
      });
      await stop();
      // What a thread of zlib's is still at is this case's.
      await delay(stage.short ? 0 : 1_000);
      const cpuMs = ((stage.attackedCpuSeconds() - before) * 1000) / Math.max(1, outcome.sent);
      const what = `${perStream}/stream ${encoding}`;
      checks.push({ what, value: cpuMs, max: MAX_CPU_MS, unit: "ms CPU", timed: true });
      checks.push({ what: `${what} unanswered`, value: outcome.unanswered, max: 0, timed: true });
      const kilobytes = outcome.receivedBytes / 1000 / Math.max(1, outcome.sent);
      if (perStream > 1)
        checks.push({ what: `${what} answers`, value: kilobytes, max: MAX_REPEATED_KB, unit: "kB" });
    }
    return checks;
  },
};

/** Calls in flight, all on one connection: what a server admits without refusing. */
const IN_FLIGHT = 2;

export const attackers = {
  /**
   * @param {import("../client.mjs").Address & { perStream: number, encoding: string, messages: number, forMs: number }}
   *   options
   */
  async reflect({ perStream, encoding, messages, forMs, ...address }) {
    const session = openSession(address);
    const body = Buffer.concat(Array.from({ length: perStream }, () => REFLECTION_MESSAGE));
    const end = performance.now() + forMs;
    let sent = 0;
    let unanswered = 0;
    let receivedBytes = 0;
    const one = async () => {
      const stream = session.request({
        ":method": "POST",
        ":path": REFLECTION,
        "content-type": "application/grpc",
        "grpc-accept-encoding": encoding,
        te: "trailers",
      });
      sent += perStream;
      let isAnswered = false;
      stream.on("response", () => {
        isAnswered = true;
      });
      stream.on("error", () => {});
      stream.on("data", (/** @type {Buffer} */ chunk) => {
        receivedBytes += chunk.length;
      });
      stream.end(body);
      const timer = setTimeout(() => stream.close(8), Math.max(1, end - performance.now()));
      await new Promise((resolve) => stream.once("close", resolve));
      clearTimeout(timer);
      if (!isAnswered) unanswered += perStream;
    };
    const loop = async () => {
      while (sent < messages && performance.now() < end && !session.destroyed) await one();
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, loop));
    return { outcome: { sent, unanswered, receivedBytes } };
  },
};
