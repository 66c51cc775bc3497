import cluster from "node:cluster";
import { setTimeout as delay } from "node:timers/promises";
import pino, { type Logger } from "pino";
import { createApp } from "../compose/app.js";
import { type Backend, openBackend } from "../compose/backend.js";
import { type Config, readConfig } from "../config/config.js";
import { findSigningKeyFiles } from "../config/signing-key-files.js";
import { type DemoCredentials, seedDemo } from "../demo/seed.js";
import { systemClock } from "../domain/clock.js";
import { type RunningServer, startServer } from "../server/server.js";
import { greeting } from "./greeting.js";
import { listenForReload, type ReloadRequests } from "./reload-requests.js";
import { createSiblingChannel } from "./sibling-channel.js";
import { followSigningKeys } from "./signing-key-reload.js";
import { aborted, listenForStop, type StopRequests } from "./stop-requests.js";
import { READY, type ReadyMessage, superviseWorkers } from "./workers.js";

/** The end of the delay, for clients that call at least that often to hear that they should leave. */
const LEAVING_MS = 1_000;

/** For calls in flight. With the delay before, by default, below the 30 s after which orchestrators kill. */
const DRAIN_MS = 20_000;

/** For what comes after: flushing what was counted, closing connections to the database. */
const CLEANUP_MS = 3_000;

/**
 * Runs the service until SIGTERM or SIGINT. It goes on serving for the configured delay then, no longer ready; after
 * that, calls in flight have 20 s to finish. SIGHUP has it look at its signing keys' files, which it does by itself too.
 */
export async function serve(env: NodeJS.ProcessEnv): Promise<void> {
  // From here on: a signal during a slow start must not be lost.
  const requests = listenForStop();
  const reloads = listenForReload();
  const config = readConfig(env);
  const base = cluster.worker && { worker: cluster.worker.id };
  const log = pino({ level: config.logLevel, base }, pino.destination({ dest: 2, sync: true }));
  const start = { env, config, requests, reloads, log };
  if (config.workers > 1 && cluster.isPrimary) return await runPrimary(start);
  try {
    await runService(start);
  } finally {
    // The channel to the primary would keep the process.
    cluster.worker?.disconnect();
  }
}

interface Start {
  readonly env: NodeJS.ProcessEnv;
  readonly config: Config;
  readonly requests: StopRequests;
  readonly reloads: ReloadRequests;
  readonly log: Logger;
}

async function runPrimary({ config, requests, reloads, log }: Start): Promise<void> {
  {
    await using backend = await openBackend({ config, log, clock: systemClock });
    await seed(backend);
  }
  const stopWithinMs = config.shutdownDelaySeconds * 1000 + DRAIN_MS + CLEANUP_MS;
  await superviseWorkers({ count: config.workers, requests, reloads, stopWithinMs, log });
}

async function runService({ env, config, requests, reloads, log }: Start): Promise<void> {
  const siblings = createSiblingChannel(process);
  await using backend = await openBackend({ config, log, clock: systemClock, siblings });
  const demo = cluster.isPrimary ? await seed(backend) : undefined;
  const app = createApp(backend);
  const read = await findSigningKeyFiles(env, config.secrets, backend.secrets);
  using _following = followSigningKeys({ read, ring: app.keyRing, log, requests: reloads });
  await using server = await startServer({
    ...config.server,
    handler: app.handler,
    limits: { maxConnections: config.server.maxConnections, maxCalls: config.server.maxCalls },
    classes: app.callClasses,
    onError: (err) => log.error({ err }, "server error"),
  });
  app.setServing(true);
  announce(server.url, backend, demo);
  await app.prepare(requests.stop);
  await aborted(requests.stop);
  log.info("shutting down");
  app.setServing(false);
  await leave(server, config.shutdownDelaySeconds * 1000, requests.hurry);
  app.shutdown();
  await server.close({ graceMs: DRAIN_MS });
}

/** Serves until balancers have turned away, then sends away who is left: clients that know this address alone. */
async function leave(server: RunningServer, delayMs: number, hurry: AbortSignal): Promise<void> {
  // Not at once: a proxy that has not noticed yet sends many calls over one connection, and those that are on their way
  // when it goes fail, at least in Go's.
  const leavingMs = Math.min(LEAVING_MS, delayMs / 2);
  const wait = (ms: number) => delay(ms, undefined, { signal: hurry }).catch(() => undefined);
  await wait(delayMs - leavingMs);
  server.leave();
  await wait(leavingMs);
}

/** Undefined where there is no demo. */
async function seed({ config, useCases }: Backend): Promise<DemoCredentials | undefined> {
  return config.seedDemo ? seedDemo(useCases, dataDirOf(config)) : undefined;
}

function announce(url: string, { config, secrets, log }: Backend, demo: DemoCredentials | undefined): void {
  if (cluster.isWorker) {
    process.send?.({ type: READY, url } satisfies ReadyMessage);
    return;
  }
  log.info({ url }, "serving");
  const dataDir = dataDirOf(config);
  if (dataDir !== undefined) process.stdout.write(greeting({ url, config, secrets, dataDir, demo }));
}

const dataDirOf = ({ database }: Config): string | undefined =>
  database.kind === "embedded" ? database.dataDir : undefined;
