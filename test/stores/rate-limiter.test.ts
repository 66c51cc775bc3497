import { randomUUID } from "node:crypto";
import { once } from "node:events";
import type { Cluster, Redis } from "ioredis";
import { describe, expect, test, vi } from "vitest";
import { canStartRedis, startRedis } from "../../harness/servers.mjs";
import type { RateLimiter } from "../../src/domain/api-keys/api-key.js";
import { type Breaker, createBreaker } from "../../src/stores/redis/breaker.js";
import { createLocalRateLimiter, createRedisRateLimiter } from "../../src/stores/redis/rate-limiter.js";
import { createRedis } from "../../src/stores/redis/redis.js";
import { redisUrl } from "../harness/redis.js";

const LIMIT = { requests: 3, windowSeconds: 60 };
/** Windows begin at whole minutes. */
const at = (time: string) => new Date(`2026-11-21T${time}Z`);
const silent = { info: () => {}, warn: () => {} };
const ALLOWED = { allowed: true };

describe("in one process", () => describeLimiter(async () => createLocalRateLimiter()));

test("very many keys push out the counters that are not in use, so that memory is bounded", async () => {
  const limiter = createLocalRateLimiter();
  const now = at("10:00:00.000");
  for (let use = 0; use < 4; use++) await limiter.take("not in use", LIMIT, now);
  for (let use = 0; use < 150_000; use++) {
    await limiter.take(`key ${use}`, LIMIT, now);
    if (use % 10_000 === 0) await limiter.take("in use", LIMIT, now);
  }
  expect((await limiter.take("in use", LIMIT, now)).allowed).toBe(false);
  expect((await limiter.take("not in use", LIMIT, now)).allowed).toBe(true);
});

describe.skipIf(!redisUrl())("through Redis", () => {
  describeLimiter(async () => (await connect()).limiter);

  test("two processes share one limit", async () => {
    await using first = await connect();
    await using second = await connect();
    const key = randomUUID();
    const now = at("10:00:00.000");
    const decisions = await Promise.all(
      Array.from({ length: 10 }, (_, index) => (index % 2 ? first : second).limiter.take(key, LIMIT, now)),
    );
    expect(decisions.filter(({ allowed }) => allowed)).toHaveLength(3);
  });

  test("one round trip a decision, and no key stays in Redis after its window", async () => {
    await using connection = await connect();
    const { client, limiter } = connection;
    // The first decision of all teaches Redis the script.
    await limiter.take(randomUUID(), LIMIT, at("10:00:00.000"));
    const key = randomUUID();
    const sent = vi.spyOn(client, "sendCommand");
    for (let use = 0; use < 5; use++) await limiter.take(key, LIMIT, at("10:00:00.000"));
    expect(sent).toHaveBeenCalledTimes(5);
    const names = await client.keys(`*${key}*`);
    expect(names).toHaveLength(1);
    for (const name of names) {
      expect(name).toMatch(/^\{tilegate:test\}:/);
      const remainingMs = await client.pttl(name);
      expect(remainingMs).toBeGreaterThan(0);
      expect(remainingMs).toBeLessThanOrEqual(60_000);
    }
  });
});

describe.skipIf(!canStartRedis())("when Redis goes away", () => {
  test("each process limits for itself without an error, and shares again when it is back", async () => {
    await using server = await startRedis();
    await using connection = createRedis(server.url, { log: silent });
    const { client } = connection;
    await once(client, "ready");
    let time = 0;
    const breaker = createBreaker({ clock: () => new Date(time), timeoutMs: 60_000, pauseMs: 1_000 });
    const limiter = limit(client, breaker);
    const key = randomUUID();
    const now = at("10:00:00.000");
    const takeAll = async () => {
      const decisions = [];
      for (let use = 0; use < 5; use++) decisions.push(await limiter.take(key, LIMIT, now));
      return decisions.map(({ allowed }) => allowed);
    };
    const limited = [true, true, true, false, false];
    expect(await takeAll()).toEqual(limited);
    const closed = once(client, "close");
    await server.stop();
    await closed;
    expect(await takeAll()).toEqual(limited);
    // Not events.once, which rejects with the errors of attempts to connect.
    const ready = new Promise<void>((resolve) => client.once("ready", resolve));
    await server.restart();
    await ready;
    time += 1_000;
    expect(await takeAll()).toEqual(limited);
  });

  test("a Redis that doesn't answer holds one decision up for a moment, and the others not at all", async () => {
    await using server = await startRedis();
    await using connection = createRedis(server.url, { log: silent });
    await using other = createRedis(server.url, { log: silent });
    await Promise.all([once(connection.client, "ready"), once(other.client, "ready")]);
    const redis = connection.client;
    const limiter = limit(redis, createBreaker({ clock: () => new Date(0), timeoutMs: 250, pauseMs: 1_000 }));
    await other.client.client("PAUSE", 20_000);
    const started = performance.now();
    // Each alone would wait 250 ms.
    for (let use = 0; use < 100; use++) {
      expect(await limiter.take(randomUUID(), LIMIT, at("10:00:00.000"))).toEqual(ALLOWED);
    }
    expect(performance.now() - started).toBeLessThan(5_000);
  });
});

function describeLimiter(open: () => Promise<RateLimiter>): void {
  test("so many uses pass in a window, the rest is told when the next begins", async () => {
    const limiter = await open();
    const key = randomUUID();
    for (const second of ["00.000", "01.000", "59.999"]) {
      expect(await limiter.take(key, LIMIT, at(`10:00:${second}`))).toEqual(ALLOWED);
    }
    for (const [time, retryAfterSeconds] of [
      ["10:00:59.999", 1],
      ["10:00:59.000", 1],
      ["10:00:58.999", 2],
      ["10:00:00.000", 60],
    ] as const) {
      expect(await limiter.take(key, LIMIT, at(time))).toEqual({ allowed: false, retryAfterSeconds });
    }
    expect(await limiter.take(key, LIMIT, at("10:01:00.000"))).toEqual(ALLOWED);
  });

  test("keys don't share a limit", async () => {
    const limiter = await open();
    const now = at("10:00:00.000");
    const once = { requests: 1, windowSeconds: 1 };
    for (const key of [randomUUID(), randomUUID()]) {
      expect((await limiter.take(key, once, now)).allowed).toBe(true);
      expect((await limiter.take(key, once, now)).allowed).toBe(false);
    }
  });

  test("a changed limit holds at once", async () => {
    const limiter = await open();
    const key = randomUUID();
    const now = at("10:00:00.000");
    for (let use = 0; use < 4; use++) await limiter.take(key, LIMIT, now);
    expect((await limiter.take(key, { ...LIMIT, requests: 10 }, now)).allowed).toBe(true);
    expect((await limiter.take(key, { requests: 1, windowSeconds: 30 }, now)).allowed).toBe(true);
    expect((await limiter.take(key, { requests: 1, windowSeconds: 30 }, now)).allowed).toBe(false);
  });
}

async function connect() {
  const { client, ...connection } = createRedis(redisUrl() ?? "", { log: silent });
  await once(client, "ready");
  return { ...connection, client, limiter: limit(client) };
}

/** Unless a breaker is given, Redis has as long as a busy machine may take: what it decides is to be seen. */
const limit = (
  redis: Redis | Cluster,
  breaker: Breaker = createBreaker({ clock: () => new Date(0), timeoutMs: 60_000, pauseMs: 1_000 }),
): RateLimiter =>
  createRedisRateLimiter({ redis, prefix: "{tilegate:test}:", breaker, local: createLocalRateLimiter() });
