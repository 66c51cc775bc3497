// Database servers on free ports of the loopback address, for tests, benchmarks and attacks.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { chown, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { pinned } from "./cores.mjs";
import { freePort } from "./ports.mjs";

/**
 * @typedef {AsyncDisposable & {
 *   readonly url: string,
 *   readonly port: number,
 *   stop(): Promise<void>,
 *   kill9(): Promise<void>,
 *   restart(): Promise<void>,
 * }} Server Its port stays the same over restarts. `kill9` ends it as a crash of the machine would, except that what was
 *   written is not lost; `restart` starts it again after either, or stops and starts it, with the same data.
 *
 * @typedef {object} ServerCommand
 * @property {string} file
 * @property {readonly string[]} args
 * @property {string} readyMessage What its log says when it takes connections.
 * @property {NodeJS.Signals} stopSignal How it ends quickly and cleanly.
 * @property {number | undefined} [core]
 */

/** Servers like PostgreSQL refuse to run as root: they run as this user then. */
const user = process.getuid?.() === 0 ? unprivilegedUser() : undefined;

/**
 * The newest program of this name: on PATH, else in PostgreSQL's own directories.
 * @param {string} name
 */
export function findProgram(name) {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian) : [];
  const directories = [
    ...(process.env.PATH ?? "").split(delimiter),
    ...versions.sort((a, b) => Number(b) - Number(a)).map((version) => join(debian, version, "bin")),
  ];
  return directories.map((directory) => join(directory, name)).find((path) => existsSync(path));
}

/** A directory of the servers' user. */
export async function serverDirectory() {
  const directory = await mkdtemp(join(tmpdir(), "tilegate-server-"));
  if (user) await chown(directory, user.uid, user.gid);
  return directory;
}

/** Whether this machine can start one. */
export const canStartPostgres = () => findProgram("initdb") !== undefined;

/**
 * @param {{ settings?: Readonly<Record<string, string>>, core?: number | undefined }} [options] `settings` as in
 *   postgresql.conf. @returns {Promise<Server>}
 */
export async function startPostgres({ settings = {}, core } = {}) {
  const [initdb, postgres] = [findProgram("initdb"), findProgram("postgres")];
  if (!initdb || !postgres) throw new Error("no PostgreSQL server is installed");
  const directory = await serverDirectory();
  const data = join(directory, "data");
  const cluster = ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"];
  execFileSync(initdb, cluster, {
    ...user,
    env: { LC_ALL: "C" },
    cwd: "/",
    stdio: ["ignore", "ignore", "pipe"],
  });
  const port = await freePort();
  const all = {
    listen_addresses: "127.0.0.1",
    port: String(port),
    unix_socket_directories: directory,
    ...settings,
  };
  const args = ["-D", data, ...Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`])];
  const readyMessage = "database system is ready to accept connections";
  return startServer(
    { file: postgres, args, readyMessage, stopSignal: "SIGINT", core },
    { url: `postgresql://postgres@127.0.0.1:${port}/postgres`, port, directory },
  );
}

/** Whether this machine can start one. */
export const canStartRedis = () => findRedis() !== undefined;

const findRedis = () => findProgram("redis-server") ?? findProgram("valkey-server");

/** @returns {string} */
export function redisProgram() {
  const file = findRedis();
  if (!file) throw new Error("no Redis server is installed");
  return file;
}

/**
 * It keeps nothing over restarts.
 * @param {{ args?: readonly string[], core?: number | undefined }} [options] @returns {Promise<Server>}
 */
export async function startRedis({ args = [], core } = {}) {
  const directory = await serverDirectory();
  const port = await freePort();
  const own = ["--bind", "127.0.0.1", "--port", String(port), "--dir", directory, "--save", ""];
  return startServer(
    {
      file: redisProgram(),
      args: [...own, ...args],
      readyMessage: "Ready to accept connections",
      stopSignal: "SIGTERM",
      core,
    },
    { url: `redis://127.0.0.1:${port}`, port, directory },
  );
}

/**
 * Starts the server and keeps `directory` until it is disposed of.
 * @param {ServerCommand} command @param {{ url: string, port: number, directory: string }} place
 * @returns {Promise<Server>}
 */
export async function startServer(command, { url, port, directory }) {
  /** @type {Running | undefined} */
  let running;
  try {
    running = await start(command);
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }

  const end = async (/** @type {NodeJS.Signals} */ signal) => {
    const ending = running;
    running = undefined;
    ending?.child.kill(signal);
    await ending?.closed;
  };

  return {
    url,
    port,
    stop: () => end(command.stopSignal),
    kill9: () => end("SIGKILL"),
    restart: async () => {
      await end(command.stopSignal);
      running = await start(command);
    },
    [Symbol.asyncDispose]: async () => {
      await end(command.stopSignal);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/**
 * @typedef {{ child: import("node:child_process").ChildProcess, closed: Promise<void> }} Running `closed` resolves when it
 *   has ended, and its descendants too, which hold the same pipe.
 */

/** @param {ServerCommand} command @returns {Promise<Running>} */
async function start({ file, args, readyMessage, core }) {
  const command = pinned(core, [file, ...args]);
  const child = spawn("/bin/sh", ["-c", 'exec "$0" "$@" 2>&1', ...command], {
    ...user,
    env: { LC_ALL: "C", PATH: process.env.PATH },
    cwd: "/",
    stdio: ["ignore", "pipe", "inherit"],
  });
  // From now on: it may end by itself.
  /** @type {Promise<void>} */
  const closed = new Promise((resolve) => child.once("close", () => resolve()));
  /** @type {string[]} */
  const log = [];
  const lines = createInterface({ input: child.stdout });
  await new Promise((resolve, reject) => {
    lines.on("line", (line) => {
      log.push(line);
      if (log.length > 100) log.shift();
      if (line.includes(readyMessage)) resolve(undefined);
    });
    lines.on("close", () => reject(new Error([`${file} did not start`, ...log].join("\n"))));
  });
  return { child, closed };
}

function unprivilegedUser() {
  const users = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"));
  const entry = users.find(([name]) => name === "postgres") ?? users.find(([name]) => name === "nobody");
  if (!entry) throw new Error("/etc/passwd has neither postgres nor nobody");
  return { uid: Number(entry[2]), gid: Number(entry[3]) };
}
