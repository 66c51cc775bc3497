import { randomBytes } from "node:crypto";
import type { RateLimiter } from "../../../src/domain/api-keys/api-key.js";
import { createApiKeys } from "../../../src/domain/api-keys/api-keys.js";
import { createVault } from "../../../src/domain/api-keys/vault.js";
import { createApiKeyVerification } from "../../../src/domain/api-keys/verification.js";
import type { Dataset } from "../../../src/domain/datasets/dataset.js";
import type { Caller } from "../../../src/domain/identity/principal.js";
import { createCursors } from "../../../src/front/cursors.js";
import { createMemoryApiKeyStore, createMemoryUnitOfWork } from "./memory-api-key-store.js";

export const ACCOUNT = "aaaaaaaa-0000-4000-8000-000000000001";
export const OTHER_ACCOUNT = "bbbbbbbb-0000-4000-8000-000000000002";
export const UNKNOWN_ID = "cccccccc-0000-4000-8000-000000000003";

export const ANONYMOUS: Caller = [];
export const OPERATOR: Caller = [{ type: "operator" }];
export const SERVICE: Caller = [{ type: "service", accountId: ACCOUNT, serviceTokenId: UNKNOWN_ID }];
export const STRANGER: Caller = [{ type: "service", accountId: OTHER_ACCOUNT, serviceTokenId: UNKNOWN_ID }];
export const user = (admin: boolean): Caller => [
  { type: "user", accountId: ACCOUNT, subject: "ada", roles: new Set(), admin },
];
export const API_KEY: Caller = [
  { type: "api_key", accountId: ACCOUNT, apiKeyId: UNKNOWN_ID, datasetIds: new Set() },
];

export const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

export function dataset(change: Partial<Dataset> & Pick<Dataset, "id">): Dataset {
  const at = new Date("2026-01-01T00:00:00Z");
  return {
    accountId: ACCOUNT,
    kind: "vector",
    title: "Test",
    tableName: change.id,
    scope: change.id,
    visibility: "private",
    status: "published",
    readerRoles: [],
    readerSubjects: [],
    raster: { minzoom: 0, maxzoom: 14, tileSize: 512, format: "pbf" },
    cacheVersion: 1,
    revision: 1,
    created: at,
    changed: at,
    ...change,
  };
}

/** The use cases on a store in memory, with a clock that only the test moves. */
export function createFixture({ datasets = [] }: { datasets?: Dataset[] } = {}) {
  let time = Date.parse("2026-11-21T10:00:00Z");
  const clock = () => new Date(time);
  const store = createMemoryApiKeyStore();
  const encryptionKeys = [randomBytes(32)];
  const vault = createVault(encryptionKeys);
  const catalog = new Map(datasets.map((each) => [each.id, each]));
  const readMany = async (ids: readonly string[]) => new Map([...catalog].filter(([id]) => ids.includes(id)));
  const lookUp = async (ids: readonly string[], mayKnow: (dataset: Dataset) => boolean) =>
    new Map([...(await readMany(ids))].filter(([, dataset]) => mayKnow(dataset)));
  const uses: { apiKeyId: string; at: Date }[] = [];
  const taken = new Map<string, number>();
  /** One window that never ends. */
  const rateLimiter: RateLimiter = {
    async take(apiKeyId, limit) {
      const count = (taken.get(apiKeyId) ?? 0) + 1;
      taken.set(apiKeyId, count);
      return count <= limit.requests
        ? { allowed: true }
        : { allowed: false, retryAfterSeconds: limit.windowSeconds };
    },
  };
  const accounts = {
    read: async (id: string) =>
      [ACCOUNT, OTHER_ACCOUNT].includes(id) ? { id, name: id, created: clock() } : undefined,
    readSole: async () => undefined,
    insert: async () => {},
  };
  const datasetTransaction = { readMany, save: async () => {}, saveOver: async () => {} };
  const options = {
    unitOfWork: createMemoryUnitOfWork({ accounts, apiKeys: store, datasets: datasetTransaction }),
    store,
    apiKeys: store,
    vault,
    cursors: createCursors(encryptionKeys),
    datasets: { lookUp },
    rateLimiter,
    lastUsed: { record: (apiKeyId: string, at: Date) => uses.push({ apiKeyId, at }) },
    clock,
  };
  return {
    /** To build the use cases anew with one part replaced. */
    options,
    store,
    uses,
    catalog,
    now: clock,
    passes: (milliseconds: number) => {
      time += milliseconds;
    },
    keys: createApiKeys(options),
    verification: createApiKeyVerification(options),
  };
}
