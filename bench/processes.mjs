import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));
const CONTROL = new URL("servers/control.mjs", import.meta.url).href;

/** Servers share one core, of which one at a time is used; the generator and the databases have the other. */
export const SERVER_CORE = 0;
export const OTHER_CORE = 1;

const canPin = cpus().length > 1 && spawnSync("taskset", ["--version"]).status === 0;

/**
 * The command that runs `command` on that core, where that can be had.
 * @param {number} core @param {readonly string[]} command
 * @returns {readonly [string, ...string[]]}
 */
export function pinned(core, command) {
  const [file = "", ...args] = command;
  return canPin ? ["taskset", "-c", String(core), file, ...args] : [file, ...args];
}

/**
 * @typedef {{ cpuSeconds: number, rssBytes: number, maxRssBytes: number }} Usage
 * @typedef {object} NodeProcess
 * @property {number} pid
 * @property {(message: unknown) => void} tell
 * @property {<T>(key: string) => Promise<T>} hear The next message that has such a key: its value. Rejects if the process
 *   ends before, or says `error`.
 * @property {() => Promise<Usage>} usage Of the whole process until now.
 * @property {() => Promise<void>} stop
 */

/**
 * Starts a Node.js program with an IPC channel.
 * @param {readonly string[]} args
 * @param {{ core?: number, env?: Record<string, string> }} [options]
 * @returns {NodeProcess}
 */
export function startNode(args, { core, env = {} } = {}) {
  const node = [process.execPath, "--import", CONTROL, ...args];
  const [file, ...rest] = core === undefined ? node : pinned(core, node);
  const child = spawn(file ?? "", rest, {
    cwd: ROOT,
    env: { PATH: process.env.PATH, ...env },
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    serialization: "advanced",
  });
  let said = "";
  child.stderr?.on("data", (chunk) => {
    said = (said + chunk).slice(-4_000);
  });
  /** @type {{ key: string, resolve(value: any): void, reject(error: Error): void }[]} */
  let waiting = [];
  let over = false;
  const closed = once(child, "close");
  const fail = (/** @type {Error} */ error) => {
    for (const { reject } of waiting) reject(error);
    waiting = [];
  };
  child.on("close", () => {
    over = true;
    fail(new Error(`${args.join(" ")} ended: ${said}`));
  });
  child.on("message", (message) => {
    if (typeof message !== "object" || message === null) return;
    if ("error" in message) fail(new Error(`${args.join(" ")}: ${message.error}`));
    for (const waiter of waiting.filter(({ key }) => key in message)) {
      waiting.splice(waiting.indexOf(waiter), 1);
      waiter.resolve(Reflect.get(message, waiter.key));
    }
  });
  /** @type {NodeProcess} */
  const started = {
    pid: child.pid ?? 0,
    tell: (message) => void child.send(/** @type {any} */ (message)),
    hear: (key) =>
      over
        ? Promise.reject(new Error(`${args.join(" ")} ended: ${said}`))
        : new Promise((resolve, reject) => waiting.push({ key, resolve, reject })),
    usage: () => {
      const usage = started.hear("usage");
      started.tell("usage");
      return /** @type {Promise<Usage>} */ (usage);
    },
    stop: async () => {
      child.kill("SIGKILL");
      await closed;
    },
  };
  return started;
}

/** @returns {Promise<number>} */
export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
