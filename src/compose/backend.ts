import type { Logger } from "pino";
import type { Config } from "../config/config.js";
import { ConfigError } from "../config/read.js";
import { ensureSecrets, type Secrets } from "../config/secrets.js";
import { type Accounts, createAccounts } from "../domain/accounts/accounts.js";
import { type ApiKeys, createApiKeys } from "../domain/api-keys/api-keys.js";
import { createVault } from "../domain/api-keys/vault.js";
import { type ApiKeyVerification, createApiKeyVerification } from "../domain/api-keys/verification.js";
import type { Clock } from "../domain/clock.js";
import { createDatasets, type Datasets } from "../domain/datasets/datasets.js";
import { revocationAt } from "../domain/tile-tokens/revocation.js";
import { createCursors } from "../front/cursors.js";
import type { SiblingChannel } from "../stores/cache/siblings.js";
import { type Database, openDatabase } from "../stores/prisma/database.js";
import { claimInstallation } from "../stores/prisma/installation.js";
import { openStores, type Stores } from "../stores/stores.js";

export interface BackendOptions {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Logger;
  /** To the other processes of this service. Absent: it has none. */
  readonly siblings?: SiblingChannel | undefined;
}

/** The use cases over their stores: what the service and the command line have in common. */
export interface Backend extends BackendOptions, AsyncDisposable {
  readonly secrets: Secrets;
  readonly database: Database;
  readonly stores: Stores;
  readonly useCases: UseCases;
}

/** What managers do. Issuing tokens is the service's own. */
export interface UseCases {
  readonly accounts: Accounts;
  readonly datasets: Datasets;
  readonly apiKeys: ApiKeys;
  readonly apiKeyVerification: ApiKeyVerification;
}

/**
 * Opens the database, brings its schema up to date, and composes the use cases.
 * @throws ConfigError, DirectoryInUseError, MigrationError, or DomainError unavailable.
 */
export async function openBackend(options: BackendOptions): Promise<Backend> {
  const { config, clock, log } = options;
  const database = await openDatabase(config.database);
  try {
    const secrets = await ensureSecrets(config.secrets);
    await database.migrate();
    const { tenancy } = config.tokens;
    const installation = await claimInstallation(database, tenancy);
    if (installation.tenancy !== tenancy) {
      throw new ConfigError([
        `TENANCY: the datasets' scopes were made with ${installation.tenancy}; with ${tenancy} no token would open them`,
      ]);
    }
    const stores = await openStores({
      database,
      installationId: installation.id,
      redisUrl: config.redis?.url,
      siblings: options.siblings,
      cacheTtlSeconds: config.cacheTtlSeconds,
      clock,
      log,
    });
    return {
      ...options,
      secrets,
      database,
      stores,
      useCases: createUseCases(options, secrets, stores),
      async [Symbol.asyncDispose]() {
        await stores[Symbol.asyncDispose]();
        await database[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await database[Symbol.asyncDispose]();
    throw error;
  }
}

function createUseCases({ config, clock, log }: BackendOptions, secrets: Secrets, stores: Stores): UseCases {
  const { unitOfWork, accounts, serviceTokens, datasets, apiKeys, rateLimiter, lastUsed } = stores;
  const { tokens: lifetime } = config;
  const vault = createVault(secrets.encryptionKeys);
  const cursors = createCursors(secrets.encryptionKeys);
  return {
    accounts: createAccounts({ unitOfWork, accounts, serviceTokens, cursors, clock }),
    datasets: createDatasets({
      unitOfWork,
      store: datasets,
      tenancy: lifetime.tenancy,
      revocationAt: (dataset, now) => revocationAt(dataset, now, lifetime),
      cursors,
      clock,
    }),
    apiKeys: createApiKeys({
      unitOfWork,
      store: apiKeys,
      vault,
      cursors,
      clock,
      onUnreadable: (errors) =>
        log.warn(
          { tokens: errors.map(({ message }) => message) },
          "API keys have tokens that can't be decrypted: rotate or delete them, or restore their encryption key",
        ),
    }),
    apiKeyVerification: createApiKeyVerification({
      apiKeys,
      vault,
      datasets,
      rateLimiter,
      lastUsed,
      clock,
    }),
  };
}
