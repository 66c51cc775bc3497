import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ROOT, startNode } from "./node-process.mjs";

/** What `npm run build` makes. */
export const MAIN = join(ROOT, "dist/main.js");

/** @typedef {Readonly<Record<string, string>>} Environment */
/** @typedef {import("./node-process.mjs").NodeProcess & { readonly url: string }} Tilegate */

const READY_WITHIN_MS = 15_000;

/**
 * The arguments with which Node.js runs the command, as its first line says.
 * @param {readonly string[]} args
 */
export function tilegateArgs(args) {
  const [line = ""] = readFileSync(MAIN, "utf8").split("\n", 1);
  return [...line.split(" ").filter((word) => word.startsWith("--")), MAIN, ...args];
}

/**
 * Runs the built command.
 * @param {readonly string[]} args @param {Environment} [env]
 */
export const spawnTilegate = (args, env) => startNode(tilegateArgs(args), { env });

/**
 * Runs the built command to its end.
 * @param {readonly string[]} args @param {Environment} [env]
 */
export const runTilegate = (args, env) => spawnTilegate(args, env).finished;

/**
 * Starts the service, on a free port unless one is given, and waits until it serves. Rejects if it ends before.
 * @param {Environment} env @returns {Promise<Tilegate>}
 */
export async function startTilegate(env) {
  const started = spawnTilegate(["serve"], { PORT: "0", ...env });
  const { url } = await started.logged("serving");
  return Object.assign(started, { url: String(url) });
}

/**
 * Waits until the service on that port of the loopback address is ready, for those whose log doesn't tell.
 * @param {{ port: number, tls?: boolean }} place
 */
export async function untilReady({ port, tls = false }) {
  const { get } = tls ? https : http;
  const options = { host: "127.0.0.1", port, path: "/readyz", agent: false, rejectUnauthorized: false };
  const ask = () =>
    new Promise((resolve) => {
      const signal = AbortSignal.timeout(READY_WITHIN_MS);
      get({ ...options, signal }, (response) => resolve(response.resume().statusCode)).on("error", resolve);
    });
  for (const end = Date.now() + READY_WITHIN_MS; Date.now() < end; await delay(5)) {
    if ((await ask()) === 200) return;
  }
  throw new Error("the service did not become ready");
}
