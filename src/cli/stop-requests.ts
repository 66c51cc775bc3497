import cluster from "node:cluster";

/** Requests that this process end. */
export interface StopRequests {
  /** Aborted by the first SIGTERM or SIGINT. */
  readonly stop: AbortSignal;
  /** Aborted by the second one: someone is in a hurry. */
  readonly hurry: AbortSignal;
}

/** What a primary tells its workers. */
export interface StopMessage {
  readonly type: typeof STOP;
  readonly hurry: boolean;
}

export const STOP = "tilegate:stop";

/** Hears them from now on. */
export function listenForStop(): StopRequests {
  const stop = new AbortController();
  const hurry = new AbortController();
  const onSignal = () => {
    // A terminal's Ctrl-C and a service manager's SIGTERM reach workers too; it is the primary that counts them.
    if (stop.signal.aborted && cluster.isPrimary) hurry.abort();
    stop.abort();
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, onSignal);
  if (cluster.isWorker) {
    process.on("message", (message) => {
      if (!isStop(message)) return;
      stop.abort();
      if (message.hurry) hurry.abort();
    });
  }
  return { stop: stop.signal, hurry: hurry.signal };
}

/** Resolves once the signal is aborted. */
export async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}

const isStop = (message: unknown): message is StopMessage =>
  typeof message === "object" && message !== null && Reflect.get(message, "type") === STOP;
