import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../../src/domain/clock.js";
import { datasetEntity } from "../../../src/stores/cache/dataset.js";
import type { Entry } from "../../../src/stores/cache/entry.js";
import { createRedisLevel } from "../../../src/stores/cache/redis-level.js";
import { redisUrl } from "../../harness/redis.js";
import { newDataset } from "../store-fixture.js";

describe.skipIf(!redisUrl())("the level in Redis", () => {
  let redis: Redis;
  beforeAll(() => {
    redis = new Redis(redisUrl() ?? "");
  });
  afterAll(() => redis?.disconnect());

  test("gives the last known entry for as long as nothing of it has changed, and no longer", async () => {
    const level = createRedisLevel({
      redis,
      prefix: `{${randomUUID()}}:`,
      breaker: { attempt: (operation) => operation() },
      name: "dataset",
      codec: datasetEntity.codec,
      lifetimes: { ttlMs: 60_000, negativeTtlMs: 5_000 },
      clock: systemClock,
    });
    const dataset = newDataset(randomUUID());
    const put = (changes: object, revision: number) => {
      const value = { ...dataset, ...changes, revision };
      return level.announce(new Map([[dataset.id, { value, revision, readAt: Date.now() }]]));
    };
    const read = async (lastKnown?: Entry<typeof dataset>) =>
      (await level.read([dataset.id], () => lastKnown)).get(dataset.id);

    await put({}, 1);
    const first = await read();
    expect(first?.value).toMatchObject({ visibility: "public" });
    expect(await read(first)).toBe(first);
    await put({ visibility: "private" }, 2);
    expect(await read(first)).toMatchObject({ revision: 2, value: { visibility: "private" } });
  });

  test("remembers of an outage the newest changes, 4 MB of them", async () => {
    const prefix = `{${randomUUID()}}:`;
    let isDown = true;
    const level = createRedisLevel({
      redis,
      prefix,
      breaker: { attempt: async (operation) => (isDown ? undefined : operation()) },
      name: "dataset",
      codec: datasetEntity.codec,
      lifetimes: { ttlMs: 60_000, negativeTtlMs: 5_000 },
      clock: systemClock,
    });
    const datasets = Array.from({ length: 100 }, () =>
      newDataset(randomUUID(), { title: "x".repeat(100_000) }),
    );
    for (const value of datasets) {
      await level.announce(new Map([[value.id, { value, revision: 1, readAt: Date.now() }]]));
    }
    isDown = false;
    await level.announceAgain();
    const keys = await redis.keys(`${prefix}*`);
    const newest = datasets.slice(-keys.length).map(({ id }) => `${prefix}dataset:${id}`);
    expect(new Set(keys)).toEqual(new Set(newest));
    expect(keys.length).toBeGreaterThan(30);
    expect(keys.length * 100_000).toBeLessThan(4 * 1024 * 1024);
  });
});
