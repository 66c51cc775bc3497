import { type ApiKeys, createApiKeys } from "../../src/domain/api-keys/api-keys.js";
import { createVault, type Vault } from "../../src/domain/api-keys/vault.js";
import { type ApiKeyVerification, createApiKeyVerification } from "../../src/domain/api-keys/verification.js";
import type { DatasetCache } from "../../src/domain/datasets/dataset.js";
import type { Caller } from "../../src/domain/identity/principal.js";
import { createCursors } from "../../src/front/cursors.js";
import { createPrismaApiKeyStore } from "../../src/stores/prisma/api-key-store.js";
import { type Database, openDatabase } from "../../src/stores/prisma/database.js";
import { createPrismaDatasetStore } from "../../src/stores/prisma/dataset-store.js";
import { createPrismaUnitOfWork } from "../../src/stores/prisma/unit-of-work.js";
import { createLocalRateLimiter } from "../../src/stores/redis/rate-limiter.js";
import { createTestDatabase, type TestDatabase } from "../harness/postgres.js";
import { insertAccount, newAccount, writerTo } from "./store-fixture.js";

export const OPERATOR: Caller = [{ type: "operator" }];

/** The key use cases, as a replica with its own key ring would have them. */
export interface KeyUseCases {
  readonly keys: ApiKeys;
  readonly verification: ApiKeyVerification;
  readonly vault: Vault;
}

/** A PostgreSQL database of the test's own. */
export interface ApiKeyFixture extends AsyncDisposable {
  readonly server: TestDatabase;
  readonly database: Database;
  /** Returns the id of a new account. */
  insertAccount(): Promise<string>;
  /** @param over the fixture's own database unless given. */
  useCases(encryptionKeys: readonly Uint8Array[], over?: Database): KeyUseCases;
}

export async function openApiKeyFixture(): Promise<ApiKeyFixture> {
  const server = await createTestDatabase();
  const database = await openDatabase({ url: server.url });
  await database.migrate();
  return {
    server,
    database,
    insertAccount: async () => {
      const account = newAccount();
      await insertAccount(writerTo(database), account);
      return account.id;
    },
    useCases: (encryptionKeys, over = database) => {
      const vault = createVault(encryptionKeys);
      const cursors = createCursors(encryptionKeys);
      const store = createPrismaApiKeyStore(over);
      const { readMany } = createPrismaDatasetStore(over);
      // No cache between them and the database.
      const lookUp: DatasetCache["lookUp"] = async (ids, mayKnow) =>
        new Map([...(await readMany(ids))].filter(([, dataset]) => mayKnow(dataset)));
      const datasets = { lookUp };
      const apiKeys = { lookUp: store.readByTokenHash };
      const unitOfWork = createPrismaUnitOfWork(over);
      const clock = () => new Date();
      const rateLimiter = createLocalRateLimiter();
      const lastUsed = { record: () => {} };
      return {
        vault,
        keys: createApiKeys({ unitOfWork, store, vault, cursors, clock }),
        verification: createApiKeyVerification({ apiKeys, vault, datasets, rateLimiter, lastUsed, clock }),
      };
    },
    [Symbol.asyncDispose]: async () => {
      await database[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}
