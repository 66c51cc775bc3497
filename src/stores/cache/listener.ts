import type { Redis } from "ioredis";
import type { Logger } from "pino";
import { type Caches, CHANNEL, clearAll, hear, limitStays } from "./announcements.js";

/**
 * How long entries stay in this process while announcements can't be heard. A revocation may then take a second more,
 * for which what was made of them is remembered.
 */
const DEAF_STAY_MS = 1_000;

/** A connection that hangs is found after this, and one more of it for the answer. */
const HEARTBEAT_MS = 1_000;

/** Keeps this process's caches coherent with the other replicas' writes for as long as it lives. */
export function listenForAnnouncements(
  subscriber: Redis,
  prefix: string,
  caches: Caches,
  log: Logger,
): AsyncDisposable {
  let hearing = false;

  function lose(): void {
    if (hearing) log.warn("announcements of other replicas can't be heard: caching for a shorter time");
    hearing = false;
    limitStays(caches, DEAF_STAY_MS);
  }

  async function subscribe(): Promise<void> {
    try {
      await subscriber.subscribe(prefix + CHANNEL);
    } catch {
      // The connection closes or is closed by the next heartbeat, and opens again.
      return;
    }
    // Not before: what is announced from now on is heard.
    clearAll(caches);
    limitStays(caches, undefined);
    hearing = true;
  }

  subscriber.on("message", (_channel: string, text: string) => hear(caches, text));
  subscriber.on("ready", () => void subscribe());
  // The connection for commands reports outages: the two lose the same server.
  subscriber.on("error", () => undefined);
  subscriber.on("close", lose);

  const heartbeat = setInterval(() => {
    if (subscriber.status !== "ready") return;
    subscriber.ping().then(
      () => (hearing ? undefined : subscribe()),
      () => {
        lose();
        subscriber.disconnect(true);
      },
    );
  }, HEARTBEAT_MS);
  heartbeat.unref();

  lose();
  if (subscriber.status === "ready") void subscribe();
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(heartbeat);
      subscriber.off("close", lose);
      subscriber.disconnect();
    },
  };
}
