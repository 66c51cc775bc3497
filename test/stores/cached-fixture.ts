import { randomUUID } from "node:crypto";
import pino from "pino";
import { systemClock } from "../../src/domain/clock.js";
import type { Dataset } from "../../src/domain/datasets/dataset.js";
import { openStores, type Stores } from "../../src/stores/stores.js";
import { anybody } from "../harness/replicas.js";
import { openPostgresFixture, type StoreFixture } from "./store-fixture.js";

/** The stores as the service has them, behind their caches, over PostgreSQL and the given Redis, if any. */
export async function openCachedFixture(redisUrl: string | undefined): Promise<StoreFixture> {
  const fixture = await openPostgresFixture();
  const { database } = fixture;
  const open = () =>
    openStores({
      database,
      // Another one each time: what Redis holds of emptied databases is nobody's.
      installationId: randomUUID(),
      redisUrl,
      cacheTtlSeconds: 60,
      clock: systemClock,
      log: pino({ level: "silent" }),
    });
  let stores: Stores = await open();
  return {
    database,
    get unitOfWork() {
      return stores.unitOfWork;
    },
    // The cached look-ups in the place of the plain reads: they must answer the same.
    get accounts() {
      const { lookUpByName: readByName, lookUpSole: readSole } = stores.accounts;
      return { ...stores.accounts, readByName, readSole };
    },
    get serviceTokens() {
      return { ...stores.serviceTokens, readBySecretHash: stores.serviceTokens.lookUp };
    },
    get datasets() {
      return { ...stores.datasets, readMany, readIdByScope: stores.scopes.lookUp };
    },
    get apiKeys() {
      return { ...stores.apiKeys, readByTokenHash: stores.apiKeys.lookUp };
    },
    async clear() {
      await fixture.clear();
      await stores[Symbol.asyncDispose]();
      stores = await open();
    },
    async [Symbol.asyncDispose]() {
      await stores[Symbol.asyncDispose]();
      await fixture[Symbol.asyncDispose]();
    },
  };

  async function readMany(ids: readonly string[]): Promise<ReadonlyMap<string, Dataset>> {
    const found = await stores.datasets.lookUp(ids, anybody);
    return new Map([...found].flatMap(([id, dataset]) => (dataset === null ? [] : [[id, dataset] as const])));
  }
}
