import type { Cluster, Redis } from "ioredis";
import type { RateLimit, RateLimitDecision, RateLimiter } from "../../domain/api-keys/api-key.js";
import type { Breaker } from "./breaker.js";
import { createRedisScript } from "./script.js";

export interface RedisRateLimiterOptions {
  readonly redis: Redis | Cluster;
  /** Of the installation's keys. */
  readonly prefix: string;
  readonly breaker: Breaker;
  /** Takes over while Redis is away. */
  readonly local: RateLimiter;
}

/** About 20 MB for two generations. A counter lives on while so many other keys come, then its key starts over. */
const GENERATION_SIZE = 50_000;

// One round trip, and no key without an expiry, whatever breaks in between.
const COUNT_SCRIPT = `
local count = redis.call("INCR", KEYS[1])
if count == 1 then redis.call("PEXPIRE", KEYS[1], ARGV[1]) end
return count`;

/** Limits what this process lets through. Windows are fixed, and aligned to the clock. */
export function createLocalRateLimiter(): RateLimiter {
  let counters = new Map<string, { readonly window: string; count: number }>();
  let olderCounters = counters;
  return {
    take: async (apiKeyId, limit, now) => {
      const { name } = windowAt(limit, now);
      const known = counters.get(apiKeyId) ?? olderCounters.get(apiKeyId);
      const counter = known?.window === name ? known : { window: name, count: 0 };
      counter.count++;
      if (counters.size >= GENERATION_SIZE) {
        olderCounters = counters;
        counters = new Map();
      }
      counters.set(apiKeyId, counter);
      return decide(counter.count, limit, now);
    },
  };
}

/** One limit for all processes that share a Redis, in the same windows. While it is away each limits for itself. */
export function createRedisRateLimiter(options: RedisRateLimiterOptions): RateLimiter {
  const { redis, prefix, breaker, local } = options;
  const increment = createRedisScript(redis, COUNT_SCRIPT);
  return {
    take: async (apiKeyId, limit, now) => {
      const key = `${prefix}rate-limit:${apiKeyId}:${windowAt(limit, now).name}`;
      const count = await breaker.attempt(() => increment([key], [limit.windowSeconds * 1000]));
      return count === undefined ? local.take(apiKeyId, limit, now) : decide(Number(count), limit, now);
    },
  };
}

/** The window that `now` is in. A changed length makes another window. */
function windowAt(
  { windowSeconds }: RateLimit,
  now: Date,
): { readonly name: string; readonly endMs: number } {
  const windowMs = windowSeconds * 1000;
  const index = Math.floor(now.getTime() / windowMs);
  return { name: `${windowSeconds}:${index}`, endMs: (index + 1) * windowMs };
}

function decide(count: number, limit: RateLimit, now: Date): RateLimitDecision {
  if (count <= limit.requests) return { allowed: true };
  const remainingMs = windowAt(limit, now).endMs - now.getTime();
  return { allowed: false, retryAfterSeconds: Math.ceil(remainingMs / 1000) };
}
