import type { Announcement, Caches } from "./announcements.js";
import { hear } from "./announcements.js";
import type { SharedLevel } from "./versioned-cache.js";

// Where there is no Redis, the worker processes of one service tell each other of their writes. They share nothing else.

/** Reaches the other processes of this service. */
export interface SiblingChannel {
  /** Resolves when it is on its way, or when nobody is left to be told. */
  send(announcement: string): Promise<void>;
  /** Calls `receive` with what the others send, until disposed of. */
  listen(receive: (announcement: string) => void): Disposable;
}

export function createSiblingLevel<T>(name: string, channel: SiblingChannel): SharedLevel<T> {
  return {
    read: async () => new Map(),
    fill: async () => undefined,
    async announce(entries) {
      const revisions = [...entries].map(([key, { revision }]) => [key, revision] as const);
      await channel.send(JSON.stringify({ cache: name, revisions } satisfies Announcement));
    },
  };
}

/** Keeps this worker's caches coherent with its siblings' writes. */
export function listenToSiblings(caches: Caches, channel: SiblingChannel): AsyncDisposable {
  const listening = channel.listen((announcement) => hear(caches, announcement));
  return { [Symbol.asyncDispose]: async () => listening[Symbol.dispose]() };
}
