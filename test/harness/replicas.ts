import pino from "pino";
import { systemClock } from "../../src/domain/clock.js";
import type { Dataset } from "../../src/domain/datasets/dataset.js";
import type { SiblingChannel } from "../../src/stores/cache/siblings.js";
import { type Database, openDatabase } from "../../src/stores/prisma/database.js";
import { claimInstallation } from "../../src/stores/prisma/installation.js";
import { openStores, type Stores } from "../../src/stores/stores.js";

/** One replica's stores. Closes its database too. */
export interface Replica extends Stores {
  readonly database: Database;
}

/** What a replica has: its own connections and caches, on the same PostgreSQL and Redis as its siblings. */
export async function openReplica(
  databaseUrl: string,
  redisUrl: string | undefined,
  cacheTtlSeconds = 60,
  clock = systemClock,
  siblings?: SiblingChannel,
): Promise<Replica> {
  const database = await openDatabase({ url: databaseUrl });
  await database.migrate();
  const stores = await openStores({
    database,
    installationId: (await claimInstallation(database, "single")).id,
    redisUrl,
    siblings,
    cacheTtlSeconds,
    clock,
    log: pino({ level: "silent" }),
  });
  return {
    ...stores,
    database,
    async [Symbol.asyncDispose]() {
      await stores[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

/** May know of every dataset. */
export const anybody = (): boolean => true;

export const nextRevision = (dataset: Dataset, changes: Partial<Dataset>): Dataset => ({
  ...dataset,
  ...changes,
  revision: dataset.revision + 1,
});

/** Makes a client's reads slow: from now on `method` of `target` delivers what it has read only after release(). */
export function holdReads<Name extends string>(
  target: Record<Name, (...args: never[]) => unknown>,
  method: Name,
): { readonly hasRead: Promise<void>; release(): void } {
  const original = target[method].bind(target);
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  let read = () => {};
  const hasRead = new Promise<void>((resolve) => {
    read = resolve;
  });
  Object.defineProperty(target, method, {
    value: async (...args: never[]) => {
      const rows = await original(...args);
      read();
      await held;
      return rows;
    },
  });
  return { hasRead, release };
}
