import type { Logger } from "pino";
import type { AccountStore, ServiceTokenStore } from "../domain/accounts/account.js";
import type { ApiKeyStore, LastUsedRecorder, RateLimiter } from "../domain/api-keys/api-key.js";
import type { Clock } from "../domain/clock.js";
import type { DatasetCache, DatasetStore } from "../domain/datasets/dataset.js";
import type { CacheName } from "./cache/announcements.js";
import {
  createCachedAccountStore,
  createCachedServiceTokenStore,
  loadAccounts,
  loadServiceTokens,
} from "./cache/cached-account-stores.js";
import { createCachedApiKeyStore, loadApiKey } from "./cache/cached-api-key-store.js";
import { createCachedDatasetStore, loadDatasets } from "./cache/cached-dataset-store.js";
import { accountCodec, apiKeyCodec, datasetCodec, serviceTokenCodec } from "./cache/codecs.js";
import type { Codec } from "./cache/entry.js";
import { listenForAnnouncements } from "./cache/listener.js";
import { createRedisLevel } from "./cache/redis-level.js";
import { createSiblingLevel, listenToSiblings } from "./cache/siblings.js";
import {
  type CoherentCache,
  createVersionedCache,
  type Load,
  type SharedLevel,
  type VersionedCache,
} from "./cache/versioned-cache.js";
import { createPrismaAccountStore } from "./prisma/account-store.js";
import { createPrismaApiKeyStore } from "./prisma/api-key-store.js";
import type { Database } from "./prisma/database.js";
import { createPrismaDatasetStore } from "./prisma/dataset-store.js";
import { createLastUsedRecorder } from "./prisma/last-used.js";
import { createPrismaServiceTokenStore } from "./prisma/service-token-store.js";
import { createBreaker } from "./redis/breaker.js";
import { createLocalRateLimiter, createRedisRateLimiter } from "./redis/rate-limiter.js";
import type { RedisConnection } from "./redis/redis.js";

/** Everything that the domain's ports need: Prisma behind caches, coherent with the other replicas. */
export interface Stores extends AsyncDisposable {
  readonly accounts: AccountStore;
  readonly serviceTokens: ServiceTokenStore;
  readonly datasets: DatasetStore & DatasetCache;
  readonly apiKeys: ApiKeyStore;
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
  /** How old a cached answer may get. */
  readonly cacheTtlSeconds: number;
  readonly clock: Clock;
  readonly log: Logger;
}

const MIB = 1024 * 1024;

/**
 * What this process keeps at most of each kind, in entries and in bytes with what is made of them. 46 MiB in all, of the heap of
 * 256 MB that a container of 512 MiB leaves: whoever writes datasets or keys of the greatest size fills these and no more.
 * Datasets, with their tokens, are most of a busy process's memory, and the maps of a platform show far fewer than 5,000 at a time;
 * so many usual ones fit (4 kB each), and so do 5,000 usual keys. The rest is Redis' or one statement away.
 */
const CAPACITIES: Readonly<Record<CacheName, { readonly maxEntries: number; readonly maxBytes: number }>> = {
  dataset: { maxEntries: 5_000, maxBytes: 24 * MIB },
  "api-key": { maxEntries: 10_000, maxBytes: 16 * MIB },
  "service-token": { maxEntries: 10_000, maxBytes: 4 * MIB },
  account: { maxEntries: 10_000, maxBytes: 2 * MIB },
};

/**
 * A dataset that is created now is seen by every replica after this at the latest, and by announcement at once. For so long an
 * id that is nobody's takes 230 bytes of Redis, most of them its key: 11 kB for a request for 50.
 */
const NEGATIVE_TTL_MS = 5_000;

/** What is made of entries and remembered is up to this much older than they. */
const REMEMBERED_MS = 1_000;

/** A request waits for Redis no longer than that before it goes on without. */
const REDIS_TIMEOUT_MS = 250;

/** How long Redis is left alone after a failure: calls go on without it, one of them tries again. */
const REDIS_PAUSE_MS = 1_000;

/** Waits for Redis a moment, so that the first writes are announced; not longer, since nothing depends on it. */
export async function openStores(options: StoresOptions): Promise<Stores> {
  const { database, installationId, redisUrl, cacheTtlSeconds, clock, log } = options;
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
  const caches = new Map<CacheName, CoherentCache>();
  const announceAgain: (() => Promise<void>)[] = [];

  function cache<T>(name: CacheName, load: Load<T>, codec: Codec<T>, rememberedMs = 0): VersionedCache<T> {
    const lifetimes = { ttlMs: ttlMs - rememberedMs, negativeTtlMs };
    const shared = redis ? sharedByRedis(redis.client) : createSiblingLevel<T>(name);
    const { bytesOf } = codec;
    const created = createVersionedCache({ load, shared, lifetimes, ...CAPACITIES[name], bytesOf, clock });
    caches.set(name, created);
    return created;

    function sharedByRedis(client: RedisConnection["client"]): SharedLevel<T> {
      const level = createRedisLevel({ redis: client, prefix, breaker, name, codec, lifetimes, clock });
      announceAgain.push(level.announceAgain);
      return level;
    }
  }

  const uncached = {
    accounts: createPrismaAccountStore(database),
    serviceTokens: createPrismaServiceTokenStore(database),
    datasets: createPrismaDatasetStore(database),
    apiKeys: createPrismaApiKeyStore(database),
  };
  const accounts = cache("account", loadAccounts(uncached.accounts), accountCodec);
  const serviceTokens = cache(
    "service-token",
    loadServiceTokens(uncached.serviceTokens),
    serviceTokenCodec,
    REMEMBERED_MS,
  );
  const datasets = cache("dataset", loadDatasets(uncached.datasets), datasetCodec, REMEMBERED_MS);
  const apiKeys = cache("api-key", loadApiKey(uncached.apiKeys), apiKeyCodec, REMEMBERED_MS);

  const listener = redis
    ? listenForAnnouncements(redis.subscriber(), prefix, caches, log)
    : listenToSiblings(caches);
  const announcing = setInterval(() => {
    for (const announce of announceAgain) void announce();
  }, REDIS_PAUSE_MS).unref();
  const lastUsed = createLastUsedRecorder({ database, log });
  const local = createLocalRateLimiter();
  await redis?.settled;
  return {
    accounts: createCachedAccountStore(uncached.accounts, accounts, clock),
    serviceTokens: createCachedServiceTokenStore(uncached.serviceTokens, serviceTokens, clock),
    datasets: createCachedDatasetStore(uncached.datasets, datasets, clock),
    apiKeys: createCachedApiKeyStore(uncached.apiKeys, apiKeys, clock),
    rateLimiter: redis ? createRedisRateLimiter({ redis: redis.client, prefix, breaker, local }) : local,
    lastUsed,
    degraded: () => (redis?.isDown() ? ["Redis can't be reached"] : []),
    generation: () =>
      accounts.generation + serviceTokens.generation + datasets.generation + apiKeys.generation,
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
