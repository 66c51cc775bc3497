import type { Announcement, CacheName, Caches } from "./announcements.js";
import { hear } from "./announcements.js";
import type { SharedLevel } from "./versioned-cache.js";

// Where there is no Redis, the worker processes of one service tell each other of their writes through the primary, which
// sends on what it gets. They share nothing else.

const TYPE = "tilegate:announcement";

/** Undefined unless this process is a worker. */
export function createSiblingLevel<T>(name: CacheName): SharedLevel<T> | undefined {
  if (process.send === undefined) return undefined;
  return {
    read: async () => new Map(),
    fill: async () => undefined,
    async announce(entries) {
      const revisions = [...entries].map(([key, { revision }]) => [key, revision] as const);
      const announcement = JSON.stringify({ cache: name, revisions } satisfies Announcement);
      await new Promise<void>((resolve) => {
        // A primary that is gone takes its workers along: nobody is left to be told.
        process.send?.({ type: TYPE, announcement }, undefined, undefined, () => resolve());
      });
    },
  };
}

/** Keeps this worker's caches coherent with its siblings' writes. */
export function listenToSiblings(caches: Caches): AsyncDisposable {
  const receive = (message: unknown) => {
    if (isAnnouncement(message)) hear(caches, message.announcement);
  };
  process.on("message", receive);
  return {
    async [Symbol.asyncDispose]() {
      process.off("message", receive);
    },
  };
}

const isAnnouncement = (message: unknown): message is { announcement: string } =>
  typeof message === "object" &&
  message !== null &&
  Reflect.get(message, "type") === TYPE &&
  typeof Reflect.get(message, "announcement") === "string";
