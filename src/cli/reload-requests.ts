import cluster from "node:cluster";
import { EventEmitter } from "node:events";
import { closeSync, openSync } from "node:fs";

/** Requests that this process read again what may change while it serves. */
export type ReloadRequests = EventEmitter<{ reload: [] }>;

/** What a primary tells its workers. */
export interface ReloadMessage {
  readonly type: typeof RELOAD;
}

export const RELOAD = "tilegate:reload";

/** Hears SIGHUP from now on, and in a worker its primary. */
export function listenForReload(): ReloadRequests {
  const requests: ReloadRequests = new EventEmitter();
  const ask = () => requests.emit("reload");
  const hadTerminal = hasTerminal();
  process.on("SIGHUP", function onSignal() {
    // A terminal that closes says so with this signal, too. Who started the service there expects it to end, as ever; workers end
    // with their primary.
    if (hadTerminal && cluster.isPrimary && !hasTerminal()) {
      process.off("SIGHUP", onSignal);
      process.kill(process.pid, "SIGHUP");
    } else ask();
  });
  if (cluster.isWorker) {
    process.on("message", (message) => {
      if (isReload(message)) ask();
    });
  }
  return requests;
}

/** Whether the process belongs to a terminal that is open. */
function hasTerminal(): boolean {
  try {
    closeSync(openSync("/dev/tty", "r"));
    return true;
  } catch {
    return false;
  }
}

const isReload = (message: unknown): message is ReloadMessage =>
  typeof message === "object" && message !== null && Reflect.get(message, "type") === RELOAD;
