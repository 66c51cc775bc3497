import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { chown, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";

/** A database server of one test's own, on a port of the loopback address that stays the same over restarts. */
export interface TestServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  stop(): Promise<void>;
  /** Ends it as a crash of the machine would, except that what was written is not lost. */
  kill9(): Promise<void>;
  /** Starts it again after stop or kill9, or stops and starts it, with the same data. */
  restart(): Promise<void>;
}

export interface ServerCommand {
  readonly file: string;
  readonly args: readonly string[];
  /** What its log says when it takes connections. */
  readonly readyMessage: string;
  /** How it ends quickly and cleanly. */
  readonly stopSignal: NodeJS.Signals;
}

/** Servers like PostgreSQL refuse to run as root: they run as this user then. */
const user = process.getuid?.() === 0 ? unprivilegedUser() : undefined;

/** The newest program of this name: on PATH, else in PostgreSQL's own directories. */
export function findProgram(name: string): string | undefined {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian) : [];
  const directories = [
    ...(process.env.PATH ?? "").split(delimiter),
    ...versions.sort((a, b) => Number(b) - Number(a)).map((version) => join(debian, version, "bin")),
  ];
  return directories.map((directory) => join(directory, name)).find((path) => existsSync(path));
}

/** Runs a program to its end as the servers' user. */
export function runProgram(file: string, args: readonly string[]): void {
  execFileSync(file, args, { ...user, env: { LC_ALL: "C" }, cwd: "/", stdio: ["ignore", "ignore", "pipe"] });
}

/** A directory of the servers' user. */
export async function serverDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "tilegate-test-"));
  if (user) await chown(directory, user.uid, user.gid);
  return directory;
}

/**
 * Below the ports that systems give to outgoing connections and to servers that take any (Linux: from 32,768): nobody
 * gets one by chance before it is bound, nor while its server is down. Not even a client of that server, which might
 * otherwise connect to itself. Files of tests that run at the same time have ports of their own.
 */
const PORTS_PER_FILE = 4_000;
const firstPort = 15_000 + (Number(process.env.VITEST_POOL_ID ?? 0) % 4) * PORTS_PER_FILE;
let nextPort = randomInt(PORTS_PER_FILE);

/** A port of the loopback address that is free, and that this process is given only once. */
export async function freePort(): Promise<number> {
  for (let tried = 0; tried < PORTS_PER_FILE; tried++) {
    const port = firstPort + (nextPort++ % PORTS_PER_FILE);
    const server = createServer().listen(port, "127.0.0.1");
    const isFree = await once(server, "listening").then(
      () => true,
      () => false,
    );
    if (!isFree) continue;
    server.close();
    await once(server, "close");
    return port;
  }
  throw new Error("no port is free");
}

/** Starts the server and keeps `directory` until it is disposed. */
export async function startServer(
  command: ServerCommand,
  { url, port, directory }: { url: string; port: number; directory: string },
): Promise<TestServer> {
  let running: Running | undefined;
  try {
    running = await start(command);
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }

  const end = async (signal: NodeJS.Signals): Promise<void> => {
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

interface Running {
  readonly child: ChildProcess;
  /** Resolves when it has ended, and its descendants too, which hold the same pipe. */
  readonly closed: Promise<void>;
}

async function start({ file, args, readyMessage }: ServerCommand): Promise<Running> {
  const child = spawn("/bin/sh", ["-c", 'exec "$0" "$@" 2>&1', file, ...args], {
    ...user,
    env: { LC_ALL: "C" },
    cwd: "/",
    stdio: ["ignore", "pipe", "inherit"],
  });
  // From now on: it may end by itself.
  const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const log: string[] = [];
  const lines = createInterface({ input: child.stdout });
  const ready = new Promise<void>((resolve, reject) => {
    lines.on("line", (line) => {
      log.push(line);
      if (log.length > 100) log.shift();
      if (line.includes(readyMessage)) resolve();
    });
    lines.on("close", () => reject(new Error([`${file} did not start`, ...log].join("\n"))));
  });
  await ready;
  return { child, closed };
}

function unprivilegedUser(): { uid: number; gid: number } {
  const users = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"));
  const entry = users.find(([name]) => name === "postgres") ?? users.find(([name]) => name === "nobody");
  if (!entry) throw new Error("/etc/passwd has neither postgres nor nobody");
  return { uid: Number(entry[2]), gid: Number(entry[3]) };
}
