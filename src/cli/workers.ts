import cluster, { type Worker } from "node:cluster";
import { once } from "node:events";
import type { Logger } from "pino";
import { DomainError } from "../domain/errors.js";
import { COMMAND_LINE_FLAGS } from "../v8-flags.js";
import { RELOAD, type ReloadMessage, type ReloadRequests } from "./reload-requests.js";
import { ANNOUNCEMENT } from "./sibling-channel.js";
import { aborted, STOP, type StopMessage, type StopRequests } from "./stop-requests.js";

export interface WorkersOptions {
  readonly count: number;
  readonly requests: StopRequests;
  readonly reloads: ReloadRequests;
  /** How long workers take to stop at most. What is left of them then is killed. */
  readonly stopWithinMs: number;
  readonly log: Logger;
}

/** What a worker tells its primary once it serves. */
export interface ReadyMessage {
  readonly type: typeof READY;
  readonly url: string;
}

export const READY = "tilegate:ready";

/** A worker that dies younger than this has not got over its start. */
const EARLY_DEATH_MS = 5_000;

/** What nothing but a start from scratch may mend: so many early deaths in a row, for each worker. */
const EARLY_DEATHS_PER_WORKER = 3;

/**
 * Runs copies of this process that share its port, replaces those that die, and passes on what they announce to each
 * other, and requests to reload to all. Resolves when all have ended as asked. A primary that is killed takes its workers along.
 * @throws DomainError unavailable if one can't start to begin with, if they keep dying young, or if one had to be killed.
 */
export async function superviseWorkers(options: WorkersOptions): Promise<void> {
  const { count, requests, reloads, log } = options;
  const failure = new AbortController();
  const over = AbortSignal.any([requests.stop, failure.signal]);
  let awaited = count;
  let earlyDeaths = 0;

  function fork() {
    const worker = cluster.fork();
    const bornMs = performance.now();
    log.debug({ worker: worker.id, pid: worker.process.pid }, "worker started");
    worker.on("message", (message: { readonly type?: unknown }) => {
      if (message.type === READY) serves(worker, message as ReadyMessage);
      else if (message.type === ANNOUNCEMENT) send(message, living(worker));
    });
    worker.once("exit", (code, signal) => {
      if (!over.aborted) died(worker, performance.now() - bornMs, { code, signal });
    });
  }

  function serves(worker: Worker, { url }: ReadyMessage) {
    awaited -= 1;
    if (awaited === 0) log.info({ url, workers: count }, "serving");
    if (awaited < 0) log.info({ worker: worker.id }, "worker serving");
  }

  function died(worker: Worker, ageMs: number, reason: object) {
    log.error({ worker: worker.id, ...reason }, "worker died");
    earlyDeaths = ageMs < EARLY_DEATH_MS ? earlyDeaths + 1 : 0;
    // What keeps the first ones from starting, such as a port that is taken, keeps the next ones too.
    if (awaited > 0) failure.abort("a worker died before all served");
    else if (earlyDeaths > count * EARLY_DEATHS_PER_WORKER) failure.abort("workers keep dying");
    else fork();
  }

  // What this process was given itself comes after them, and counts.
  cluster.setupPrimary({ execArgv: [...COMMAND_LINE_FLAGS, ...process.execArgv] });
  reloads.on("reload", () => send({ type: RELOAD } satisfies ReloadMessage, living()));
  if (!over.aborted) for (let started = 0; started < count; started += 1) fork();
  await aborted(over);
  const allEnded = await stopWorkers(options);
  if (failure.signal.aborted) throw workersError(failure.signal.reason);
  if (!allEnded) throw workersError("a worker did not end and was killed");
}

/** @returns Whether all ended by themselves. */
async function stopWorkers({ requests, stopWithinMs }: WorkersOptions): Promise<boolean> {
  const workers = living();
  const tell = (hurry: boolean) => send({ type: STOP, hurry } satisfies StopMessage, workers);
  tell(requests.hurry.aborted);
  requests.hurry.addEventListener("abort", () => tell(true), { once: true });
  let allEnded = true;
  const deadline = setTimeout(() => {
    allEnded = false;
    for (const worker of workers) worker.process.kill("SIGKILL");
  }, stopWithinMs);
  await Promise.all(workers.map((worker) => once(worker, "exit")));
  clearTimeout(deadline);
  return allEnded;
}

const living = (except?: Worker): Worker[] =>
  Object.values(cluster.workers ?? {}).filter(
    (worker): worker is Worker => worker !== undefined && worker !== except && !worker.isDead(),
  );

function send(message: object, workers: readonly Worker[]): void {
  for (const worker of workers) {
    // One that is about to die doesn't hear it. Without a callback that would be an error event, and end the primary.
    if (worker.isConnected()) worker.send(message, () => undefined);
  }
}

const workersError = (message: string) => new DomainError("unavailable", "WORKERS_FAILED", message);
