import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { chown, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import pg from "pg";
import { freePort, OTHER_CORE, pinned } from "./processes.mjs";

/** @typedef {{ url: string, stop(): Promise<void> }} Server */

/** PostgreSQL refuses to run as root: it runs as this user then. */
const user = process.getuid?.() === 0 ? unprivilegedUser() : undefined;

/** @returns {Promise<Server>} A PostgreSQL of our own, else a database of our own on the one of TEST_DATABASE_URL. */
export async function startPostgres() {
  const [initdb, postgres] = [findProgram("initdb"), findProgram("postgres")];
  if (!initdb || !postgres) return createDatabase(process.env.TEST_DATABASE_URL);
  const directory = await serverDirectory();
  const data = join(directory, "data");
  const options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"];
  execFileSync(initdb, ["-D", data, ...options], {
    ...user,
    env: { LC_ALL: "C" },
    cwd: "/",
    stdio: ["ignore", "ignore", "pipe"],
  });
  const port = await freePort();
  // Default settings but for memory: a server of this size has more than 128 MB.
  const settings = [
    "listen_addresses=127.0.0.1",
    `port=${port}`,
    `unix_socket_directories=${directory}`,
    "shared_buffers=512MB",
    "max_wal_size=4GB",
  ];
  const command = [postgres, "-D", data, ...settings.flatMap((setting) => ["-c", setting])];
  const stop = await start(command, "ready to accept connections", "SIGINT", directory);
  return { url: `postgresql://postgres@127.0.0.1:${port}/postgres`, stop };
}

/** @returns {Promise<Server>} A Redis of our own, else that of TEST_REDIS_URL: keys carry the installation's id. */
export async function startRedis() {
  const redis = findProgram("redis-server") ?? findProgram("valkey-server");
  if (!redis) {
    const url = process.env.TEST_REDIS_URL;
    if (!url) throw new Error("neither redis-server nor TEST_REDIS_URL");
    return { url, stop: async () => {} };
  }
  const directory = await serverDirectory();
  const port = await freePort();
  const command = [redis, "--bind", "127.0.0.1", "--port", String(port), "--dir", directory, "--save", ""];
  const stop = await start(command, "Ready to accept connections", "SIGTERM", directory);
  return { url: `redis://127.0.0.1:${port}`, stop };
}

/** @param {string | undefined} serverUrl @returns {Promise<Server>} */
async function createDatabase(serverUrl) {
  if (!serverUrl) throw new Error("neither PostgreSQL's programs nor TEST_DATABASE_URL");
  const name = `tilegate_bench_${process.pid}`;
  const admin = new pg.Client({ connectionString: serverUrl });
  await admin.connect();
  await admin.query(`CREATE DATABASE ${name}`);
  const url = new URL(serverUrl);
  url.pathname = name;
  return {
    url: url.href,
    stop: async () => {
      await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
      await admin.end();
    },
  };
}

/**
 * @param {readonly string[]} command @param {string} readyMessage @param {NodeJS.Signals} stopSignal
 * @param {string} directory Removed once the server has stopped.
 * @returns {Promise<() => Promise<void>>} Stops it.
 */
async function start(command, readyMessage, stopSignal, directory) {
  const [file = "", ...args] = pinned(OTHER_CORE, command);
  const child = spawn("/bin/sh", ["-c", 'exec "$0" "$@" 2>&1', file, ...args], {
    ...user,
    env: { LC_ALL: "C", PATH: process.env.PATH },
    cwd: "/",
    stdio: ["ignore", "pipe", "inherit"],
  });
  const closed = once(child, "close");
  /** @type {string[]} */
  const log = [];
  await new Promise((resolve, reject) => {
    const lines = createInterface({ input: child.stdout });
    lines.on("line", (line) => {
      if (log.length < 100) log.push(line);
      if (line.includes(readyMessage)) resolve(undefined);
    });
    lines.on("close", () => reject(new Error([`${command[0]} did not start`, ...log].join("\n"))));
  });
  return async () => {
    child.kill(stopSignal);
    await closed;
    await rm(directory, { recursive: true, force: true });
  };
}

/** @param {string} name */
function findProgram(name) {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian) : [];
  const directories = [
    ...(process.env.PATH ?? "").split(delimiter),
    ...versions.sort((a, b) => Number(b) - Number(a)).map((version) => join(debian, version, "bin")),
  ];
  return directories.map((directory) => join(directory, name)).find((path) => existsSync(path));
}

async function serverDirectory() {
  const directory = await mkdtemp(join(tmpdir(), "tilegate-bench-"));
  if (user) await chown(directory, user.uid, user.gid);
  return directory;
}

function unprivilegedUser() {
  const users = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"));
  const entry = users.find(([name]) => name === "postgres") ?? users.find(([name]) => name === "nobody");
  if (!entry) throw new Error("/etc/passwd has neither postgres nor nobody");
  return { uid: Number(entry[2]), gid: Number(entry[3]) };
}
