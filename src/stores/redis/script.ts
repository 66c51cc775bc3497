import { createHash } from "node:crypto";
import type { Cluster, Redis } from "ioredis";

export type RedisScript = (keys: readonly string[], args: readonly (string | number)[]) => Promise<unknown>;

/** Runs a script by its digest: the text travels only when the server doesn't know it, as after a restart. */
export function createRedisScript(redis: Redis | Cluster, script: string): RedisScript {
  const digest = createHash("sha1").update(script).digest("hex");
  return async (keys, args) => {
    try {
      return await redis.evalsha(digest, keys.length, ...keys, ...args);
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith("NOSCRIPT"))) throw error;
      return await redis.eval(script, keys.length, ...keys, ...args);
    }
  };
}
