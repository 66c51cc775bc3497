import { spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { pinned } from "./cores.mjs";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));
const CONTROL = new URL("control.mjs", import.meta.url).href;

/** Of one that talks for hours, the last ones. */
const MAX_LINES = 10_000;
/** Of those, what an error quotes. */
const TOLD_LINES = 100;

/**
 * @typedef {{ readonly msg: string, readonly [field: string]: unknown }} LogLine What isn't JSON is all in `msg`.
 * @typedef {{ stream: "stdout" | "stderr", text: string }} Line
 * @typedef {{ code: number | null, stdout: string, stderr: string }} Finished `code` is null where a signal ended it.
 * @typedef {{ cpuSeconds: number, rssBytes: number, maxRssBytes: number }} Usage
 *
 * @typedef {AsyncDisposable & {
 *   readonly pid: number,
 *   readonly log: readonly LogLine[],
 *   readonly finished: Promise<Finished>,
 *   says(pattern: RegExp): Promise<string>,
 *   logged(msg: string, count?: number): Promise<LogLine>,
 *   signal(signal: NodeJS.Signals): void,
 *   stop(): Promise<void>,
 *   tell(message: unknown): void,
 *   hear<T>(key: string): Promise<T>,
 *   usage(): Promise<Usage>,
 * }} NodeProcess
 *   `log`: what it and its workers have written to standard error. `finished` resolves once it and they have ended.
 *   `says` resolves with a line of either output that is so, `logged` with the `count`th one of its log that has this
 *   message, be it in the past; they reject if it ends before. `stop`, and disposal, kill it. `tell`, `hear` and `usage`
 *   need a channel: `hear` resolves with the value of that key in the next message that has it, and rejects if the process
 *   ends before or says `error`; `usage` is of the whole process until now.
 */

/**
 * Starts a Node.js program. Its environment is `env` and PATH, nothing of this process's.
 * @param {readonly string[]} args Of Node.js, then the program and its own.
 * @param {{ core?: number | undefined, env?: Readonly<Record<string, string>>, channel?: boolean, cwd?: string,
 *   group?: boolean }} [options] `channel`: over which it is told things and answers; it ends with this process then. `group`:
 *   signals go to all that it starts, too.
 * @returns {NodeProcess}
 */
export function startNode(args, { core, env = {}, channel = false, cwd = ROOT, group = false } = {}) {
  const [file, ...rest] = pinned(core, [
    process.execPath,
    ...(channel ? ["--import", CONTROL] : []),
    ...args,
  ]);
  const child = spawn(file, rest, {
    cwd,
    detached: group,
    env: { PATH: process.env.PATH, ...env },
    stdio: ["ignore", "pipe", "pipe", ...(channel ? /** @type {const} */ (["ipc"]) : [])],
    serialization: "advanced",
  });
  /** @type {Line[]} */
  const lines = [];
  const changes = new EventEmitter();
  changes.setMaxListeners(0);
  for (const stream of /** @type {const} */ (["stdout", "stderr"])) {
    const input = child[stream];
    if (input === null) throw new Error("the process has no output");
    createInterface({ input }).on("line", (text) => {
      lines.push({ stream, text });
      if (lines.length > MAX_LINES) lines.shift();
      changes.emit("change");
    });
  }
  let isOver = false;
  const of = (/** @type {Line["stream"]} */ wanted) => lines.filter(({ stream }) => stream === wanted);
  const textOf = (/** @type {Line["stream"]} */ wanted) =>
    of(wanted)
      .map(({ text }) => `${text}\n`)
      .join("");
  // Not "exit": workers hold the same pipes.
  const finished = once(child, "close").then(([code]) => {
    isOver = true;
    changes.emit("change");
    return { code, stdout: textOf("stdout"), stderr: textOf("stderr") };
  });

  const endedWithout = (/** @type {string} */ what) => {
    const told = lines.slice(-TOLD_LINES).map(({ text }) => text);
    return new Error([`${args.join(" ")} ended without ${what}:`, ...told].join("\n"));
  };

  /**
   * @template T
   * @param {() => T | undefined} look @param {string} what
   * @returns {Promise<T>}
   */
  async function until(look, what) {
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      if (isOver) throw endedWithout(what);
      await once(changes, "change");
    }
  }

  /** @type {Map<string, { resolve(value: any): void, reject(error: Error): void }[]>} */
  const waiting = new Map();
  const fail = (/** @type {(key: string) => Error} */ why) => {
    for (const [key, waiters] of waiting) for (const { reject } of waiters) reject(why(key));
    waiting.clear();
  };
  finished.then(() => fail((key) => endedWithout(`"${key}"`)));
  child.on("message", (message) => {
    if (typeof message !== "object" || message === null) return;
    if ("error" in message) fail(() => new Error(`${args.join(" ")}: ${message.error}`));
    for (const [key, value] of Object.entries(message)) {
      for (const { resolve } of waiting.get(key) ?? []) resolve(value);
      waiting.delete(key);
    }
  });

  /** @param {NodeJS.Signals} name */
  function signal(name) {
    if (!group || child.pid === undefined) {
      child.kill(name);
      return;
    }
    try {
      process.kill(-child.pid, name);
    } catch {
      // All have ended.
    }
  }

  /** @type {NodeProcess} */
  const started = {
    pid: child.pid ?? 0,
    get log() {
      return of("stderr").map(({ text }) => parse(text));
    },
    finished,
    says: (pattern) => until(() => lines.find(({ text }) => pattern.test(text))?.text, String(pattern)),
    logged: (msg, count = 1) =>
      until(() => started.log.filter((line) => line.msg === msg)[count - 1], `"${msg}"`),
    signal,
    async stop() {
      signal("SIGKILL");
      await finished;
    },
    tell: (message) => void child.send(/** @type {any} */ (message)),
    hear: (key) =>
      isOver
        ? Promise.reject(endedWithout(`"${key}"`))
        : new Promise((resolve, reject) => {
            waiting.set(key, [...(waiting.get(key) ?? []), { resolve, reject }]);
          }),
    usage() {
      const usage = started.hear("usage");
      started.tell("usage");
      return /** @type {Promise<Usage>} */ (usage);
    },
    [Symbol.asyncDispose]: () => started.stop(),
  };
  return started;
}

/** @param {string} line @returns {LogLine} */
function parse(line) {
  try {
    return JSON.parse(line);
  } catch {
    return { msg: line };
  }
}
