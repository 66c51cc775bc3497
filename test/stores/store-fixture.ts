import { randomBytes, randomUUID } from "node:crypto";
import type {
  Account,
  AccountStore,
  ServiceToken,
  ServiceTokenStore,
} from "../../src/domain/accounts/account.js";
import type { ApiKey, ApiKeyStore, SealedToken } from "../../src/domain/api-keys/api-key.js";
import type { Dataset, DatasetStore } from "../../src/domain/datasets/dataset.js";
import type { UnitOfWork } from "../../src/domain/unit-of-work.js";
import { createPrismaAccountStore } from "../../src/stores/prisma/account-store.js";
import { createPrismaApiKeyStore } from "../../src/stores/prisma/api-key-store.js";
import { type Database, type DatabaseOptions, openDatabase } from "../../src/stores/prisma/database.js";
import { createPrismaDatasetStore } from "../../src/stores/prisma/dataset-store.js";
import { createPrismaServiceTokenStore } from "../../src/stores/prisma/service-token-store.js";
import { createPrismaUnitOfWork } from "../../src/stores/prisma/unit-of-work.js";
import { createDataDirectory } from "../harness/data-directory.js";
import { createTestDatabase } from "../harness/postgres.js";

/** Where tests write. */
export interface Writer {
  readonly unitOfWork: UnitOfWork;
}

/** The stores under test over one database. */
export interface StoreFixture extends AsyncDisposable, Writer {
  readonly accounts: AccountStore;
  readonly serviceTokens: ServiceTokenStore;
  readonly datasets: DatasetStore;
  readonly apiKeys: ApiKeyStore;
  readonly database: Database;
  /** Empties the database. */
  clear(): Promise<void>;
}

export async function openEmbeddedFixture(): Promise<StoreFixture> {
  const dataDir = await createDataDirectory();
  return openFixture({ dataDir: dataDir.path }, dataDir);
}

export async function openPostgresFixture(): Promise<StoreFixture> {
  const database = await createTestDatabase();
  return openFixture({ url: database.url }, database);
}

async function openFixture(options: DatabaseOptions, resource: AsyncDisposable): Promise<StoreFixture> {
  const database = await openDatabase(options);
  await database.migrate();
  return {
    accounts: createPrismaAccountStore(database),
    serviceTokens: createPrismaServiceTokenStore(database),
    datasets: createPrismaDatasetStore(database),
    apiKeys: createPrismaApiKeyStore(database),
    unitOfWork: createPrismaUnitOfWork(database),
    database,
    clear: async () => {
      await database.prisma.$executeRaw`TRUNCATE accounts CASCADE`;
    },
    [Symbol.asyncDispose]: async () => {
      await database[Symbol.asyncDispose]();
      await resource[Symbol.asyncDispose]();
    },
  };
}

export const writerTo = (database: Database): Writer => ({ unitOfWork: createPrismaUnitOfWork(database) });

export const insertAccount = ({ unitOfWork }: Writer, account: Account): Promise<void> =>
  unitOfWork.write(({ accounts }) => accounts.insert(account));

export const insertServiceToken = ({ unitOfWork }: Writer, token: ServiceToken): Promise<void> =>
  unitOfWork.write(({ serviceTokens }) => serviceTokens.insert(token));

export const revokeServiceToken = ({ unitOfWork }: Writer, id: string, at: Date) =>
  unitOfWork.write(({ serviceTokens }) => serviceTokens.revoke(id, at));

export const insertApiKey = ({ unitOfWork }: Writer, key: ApiKey): Promise<void> =>
  unitOfWork.write(({ apiKeys }) => apiKeys.insert(key));

/** In the place of `former`, as the next revision of it. */
export async function replaceApiKey({ unitOfWork }: Writer, key: ApiKey, former: ApiKey): Promise<ApiKey> {
  const next = { ...key, revision: former.revision + 1 };
  await unitOfWork.write(({ apiKeys }) => apiKeys.replace(next, former));
  return next;
}

/** How many keys an account has, as a listing tells. */
export const countApiKeys = async (store: Pick<ApiKeyStore, "list">, accountId: string): Promise<number> =>
  (await store.list(accountId, { limit: 1 })).totalCount;

export const saveDatasets = ({ unitOfWork }: Writer, ...saved: readonly Dataset[]): Promise<void> =>
  unitOfWork.write(({ datasets }) => datasets.save(saved));

export function newAccount(changes: Partial<Account> = {}): Account {
  const id = randomUUID();
  return { id, name: `account ${id}`, created: new Date("2026-03-01T12:00:00.123Z"), ...changes };
}

export function newDataset(accountId: string, changes: Partial<Dataset> = {}): Dataset {
  const tableName = `t_${randomBytes(6).toString("hex")}`;
  return {
    id: randomUUID(),
    accountId,
    kind: "vector",
    title: "Countries",
    tableName,
    scope: tableName,
    visibility: "public",
    status: "published",
    readerRoles: [],
    readerSubjects: [],
    raster: { minzoom: 0, maxzoom: 18, tileSize: 256, format: "png" },
    cacheVersion: 1,
    revision: 1,
    created: new Date("2026-03-01T12:00:00.123Z"),
    changed: new Date("2026-03-01T12:00:00.123Z"),
    ...changes,
  };
}

export function newApiKey(accountId: string, changes: Partial<ApiKey> = {}): ApiKey {
  return {
    id: randomUUID(),
    accountId,
    name: "Key",
    description: "",
    userAgent: "",
    origins: [],
    allowedIps: [],
    enabled: true,
    datasetIds: [],
    current: newSealedToken(),
    created: new Date("2026-03-01T12:00:00.123Z"),
    changed: new Date("2026-03-01T12:00:00.123Z"),
    revision: 1,
    ...changes,
  };
}

/** Bytes in the place of a token: stores don't look into them. */
export function newSealedToken(): SealedToken {
  return { lookupHash: Uint8Array.from(randomBytes(32)), ciphertext: Uint8Array.from(randomBytes(74)) };
}
