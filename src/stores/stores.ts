import type { Logger } from "pino";
import type {
  AccountCache,
  AccountStore,
  ServiceTokenCache,
  ServiceTokenStore,
} from "../domain/accounts/account.js";
import type { ApiKeyCache, ApiKeyStore, LastUsedRecorder, RateLimiter } from "../domain/api-keys/api-key.js";
import type { Clock } from "../domain/clock.js";
import type { DatasetCache, DatasetStore, ScopeCache } from "../domain/datasets/dataset.js";
import type { UnitOfWork } from "../domain/unit-of-work.js";
import { type Follow, followBoth, withAnnouncements } from "./announcing.js";
import { accountEntity } from "./cache/account.js";
import { apiKeyEntity } from "./cache/api-key.js";
import { datasetEntity } from "./cache/dataset.js";
import type { CachedEntity, Written } from "./cache/entity.js";
import { listenForAnnouncements } from "./cache/listener.js";
import { createRedisLevel } from "./cache/redis-level.js";
import { scopeEntity } from "./cache/scope.js";
import { serviceTokenEntity } from "./cache/service-token.js";
import { createSiblingLevel, listenToSiblings, type SiblingChannel } from "./cache/siblings.js";
import { type CoherentCache, createVersionedCache, type SharedLevel } from "./cache/versioned-cache.js";
import { createPrismaAccountStore } from "./prisma/account-store.js";
import { createPrismaApiKeyStore } from "./prisma/api-key-store.js";
import type { Database } from "./prisma/database.js";
import { createPrismaDatasetStore } from "./prisma/dataset-store.js";
import { createLastUsedRecorder } from "./prisma/last-used.js";
import { createPrismaServiceTokenStore } from "./prisma/service-token-store.js";
import { createPrismaUnitOfWork } from "./prisma/unit-of-work.js";
import { createBreaker } from "./redis/breaker.js";
import { createLocalRateLimiter, createRedisRateLimiter } from "./redis/rate-limiter.js";
import type { RedisConnection } from "./redis/redis.js";

/** Everything that the domain's ports need: Prisma behind caches, coherent with the other replicas. */
export interface Stores extends AsyncDisposable {
  readonly accounts: AccountStore & AccountCache;
  readonly serviceTokens: ServiceTokenStore & ServiceTokenCache;
  readonly datasets: DatasetStore & DatasetCache;
  readonly scopes: ScopeCache;
  readonly apiKeys: ApiKeyStore & ApiKeyCache;
  /** Everything that managers change. */
  readonly unitOfWork: UnitOfWork;
  readonly rateLimiter: RateLimiter;
  readonly lastUsed: LastUsedRecorder;
  /** What is done without now, in words for operators. */
  degraded(): readonly string[];
  /** Grows with every change that this process hears of: what was derived from older answers may not hold any more. */
  generation(): number;
}

export interface StoresOptions {
  readonly database: Database;
  /** Keeps apart what several installations keep in one Redis. */
  readonly installationId: string;
  /** Absent: caches of this process only. */
  readonly redisUrl?: string | undefined;
  /** Who hears of this process's writes where there is no Redis. Absent: nobody. */
  readonly siblings?: SiblingChannel | undefined;
  /** How old a cached answer may get. */
  readonly cacheTtlSeconds: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * A dataset that is created now is seen by every replica after this at the latest, and by announcement at once. For so long an
 * id that is nobody's takes 230 bytes of Redis, most of them its key: 11 kB for a request for 50.
 */
const NEGATIVE_TTL_MS = 5_000;

/** A request waits for Redis no longer than that before it goes on without. */
const REDIS_TIMEOUT_MS = 250;

/** How long Redis is left alone after a failure: calls go on without it, one of them tries again. */
const REDIS_PAUSE_MS = 1_000;

/** Waits for Redis a moment, so that the first writes are announced; not longer, since nothing depends on it. */
export async function openStores(options: StoresOptions): Promise<Stores> {
  const { database, installationId, redisUrl, siblings, cacheTtlSeconds, clock, log } = options;
  const ttlMs = cacheTtlSeconds * 1000;
  const negativeTtlMs = Math.min(NEGATIVE_TTL_MS, ttlMs);
  const redis = redisUrl === undefined ? undefined : await connectRedis(redisUrl, log);
  const breaker = createBreaker({
    clock,
    timeoutMs: REDIS_TIMEOUT_MS,
    pauseMs: REDIS_PAUSE_MS,
    onChange: redis?.report,
  });
  // In braces: one slot of a cluster, so that MGET and scripts work there.
  const prefix = `{tilegate:${installationId}}:`;
  const caches = new Map<string, CoherentCache>();
  /** The same, for a sum that each answer from memory asks for several times. */
  const registered: CoherentCache[] = [];
  const announceAgain: (() => Promise<void>)[] = [];

  /** Puts a cache in front of what `store` reads. */
  function register<T, Store, LookUps, Writes>(
    entity: CachedEntity<T, Store, LookUps, Writes>,
    store: Store,
  ) {
    const { name, codec } = entity;
    const lifetimes = { ttlMs: ttlMs - entity.rememberedMs, negativeTtlMs };
    const load = entity.load(store);
    const cache = createVersionedCache({ ...entity, load, shared: sharedLevel(), lifetimes, clock });
    caches.set(name, cache);
    registered.push(cache);
    const follow: Follow<Writes> = (writes) => {
      const noted = new Map<string, Written<T>>();
      return {
        writes: entity.noting(writes, (key, written) => void noted.set(key, written)),
        async announce() {
          const readAt = clock().getTime();
          const entries = [...noted].map(([key, written]) => [key, { ...written, readAt }] as const);
          if (entries.length > 0) await cache.announce(new Map(entries));
        },
      };
    };
    return { lookUps: entity.lookUps(cache), follow };

    function sharedLevel(): SharedLevel<T> | undefined {
      if (redis === undefined) return siblings && createSiblingLevel(name, siblings);
      const level = createRedisLevel({ redis: redis.client, prefix, breaker, name, codec, lifetimes, clock });
      announceAgain.push(level.announceAgain);
      return level;
    }
  }

  const truth = {
    accounts: createPrismaAccountStore(database),
    serviceTokens: createPrismaServiceTokenStore(database),
    datasets: createPrismaDatasetStore(database),
    apiKeys: createPrismaApiKeyStore(database),
  };
  // What they keep at most is 50 MiB in all, of the heap of 256 MB that a container of 512 MiB leaves: whoever writes datasets
  // or keys of the greatest size fills these and no more.
  const accounts = register(accountEntity, truth.accounts);
  const serviceTokens = register(serviceTokenEntity, truth.serviceTokens);
  const datasets = register(datasetEntity, truth.datasets);
  const scopes = register(scopeEntity, truth.datasets);
  const apiKeys = register(apiKeyEntity, truth.apiKeys);

  const listener = redis
    ? listenForAnnouncements(redis.subscriber(), prefix, caches, log)
    : siblings && listenToSiblings(caches, siblings);
  const announcing = setInterval(() => {
    for (const announce of announceAgain) void announce();
  }, REDIS_PAUSE_MS).unref();
  const lastUsed = createLastUsedRecorder({ database, log });
  const local = createLocalRateLimiter();
  await redis?.settled;
  return {
    accounts: { ...truth.accounts, ...accounts.lookUps },
    serviceTokens: { ...truth.serviceTokens, ...serviceTokens.lookUps },
    datasets: { ...truth.datasets, ...datasets.lookUps },
    scopes: scopes.lookUps,
    apiKeys: { ...truth.apiKeys, ...apiKeys.lookUps },
    unitOfWork: withAnnouncements(createPrismaUnitOfWork(database), {
      accounts: accounts.follow,
      serviceTokens: serviceTokens.follow,
      datasets: followBoth(datasets.follow, scopes.follow),
      apiKeys: apiKeys.follow,
    }),
    rateLimiter: redis ? createRedisRateLimiter({ redis: redis.client, prefix, breaker, local }) : local,
    lastUsed,
    degraded: () => (redis?.isDown() ? ["Redis can't be reached"] : []),
    generation: () => registered.reduce((sum, cache) => sum + cache.generation, 0),
    async [Symbol.asyncDispose]() {
      clearInterval(announcing);
      for (const resource of [lastUsed, listener, redis]) await resource?.[Symbol.asyncDispose]();
    },
  };
}

/** Loads the client only where there is a Redis: it is 8 MB of memory. */
async function connectRedis(url: string, log: Logger): Promise<RedisConnection> {
  const { createRedis } = await import("./redis/redis.js");
  return createRedis(url, { log });
}
