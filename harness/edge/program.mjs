import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const READY_WITHIN_MS = 60_000;
/** After SIGTERM; some wait for connections that clients keep. */
const STOP_WITHIN_MS = 5_000;
/** Of what it has written, the end. */
const MAX_OUTPUT_CHARACTERS = 20_000;

/**
 * @typedef {AsyncDisposable & { readonly url: string, readonly port: number, readonly output: string, stop(): Promise<void> }} Program
 *   `output`: the last that it has written to both outputs.
 */

/** A new directory for what a program reads and writes: disposal removes it. */
export async function programDirectory() {
  const path = await mkdtemp(join(tmpdir(), "tilegate-edge-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/**
 * Starts a server in the foreground, with `env` and PATH for its environment, and waits until it is ready. Rejects with what it
 * has written if it ends before, or isn't ready in time.
 * @param {string} file @param {readonly string[]} args
 * @param {{ port: number, directory: AsyncDisposable & { readonly path: string }, env?: Readonly<Record<string, string>>,
 *   isReady?: () => Promise<boolean> }} place `directory`: where it runs; removed with it. `isReady`: by default once it takes
 *   connections. @returns {Promise<Program>}
 */
export async function startProgram(file, args, { port, directory, env = {}, isReady = () => accepts(port) }) {
  const child = spawn(file, args, {
    cwd: directory.path,
    env: { PATH: process.env.PATH, HOME: directory.path, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      output = (output + text).slice(-MAX_OUTPUT_CHARACTERS);
    });
  }
  let isOver = false;
  const closed = new Promise((resolve) => {
    child.once("error", (error) => {
      output += `${error.message}\n`;
      resolve(undefined);
    });
    child.once("close", resolve);
  }).then(() => {
    isOver = true;
  });

  async function stop() {
    child.kill("SIGTERM");
    const patience = new AbortController();
    const killed = delay(STOP_WITHIN_MS, undefined, { signal: patience.signal }).then(
      () => child.kill("SIGKILL"),
      () => undefined,
    );
    await closed;
    patience.abort();
    await killed;
  }

  const end = async () => {
    await stop();
    await directory[Symbol.asyncDispose]();
  };

  for (const last = Date.now() + READY_WITHIN_MS; !(await isReady()); await delay(20)) {
    if (!isOver && Date.now() < last) continue;
    await end();
    throw new Error(`${[file, ...args].join(" ")} did not get ready:\n${output}`);
  }
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    get output() {
      return output;
    },
    stop,
    [Symbol.asyncDispose]: end,
  };
}

/** @param {number} port */
async function accepts(port) {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
