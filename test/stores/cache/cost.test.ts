import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Dataset } from "../../../src/domain/datasets/dataset.js";
import { createTestDatabase, postgresUrl, type TestDatabase } from "../../harness/postgres.js";
import { canStartRedis, startRedis } from "../../harness/redis.js";
import type { TestServer } from "../../harness/server-process.js";
import { newAccount, newDataset } from "../store-fixture.js";
import { eventually, insert, openReplica, type Replica } from "./replicas.js";

/** Counted by the servers themselves, on a Redis of the test's own. */
describe.skipIf(!postgresUrl() || !canStartRedis())("the cost of a batch of 50", () => {
  let server: TestServer;
  let redis: Redis;
  let database: TestDatabase;
  let datasets: Dataset[];
  let ids: string[];

  beforeAll(async () => {
    server = await startRedis();
    redis = new Redis(server.url);
    database = await createTestDatabase();
    await using writer = await openReplica(database.url, undefined);
    const account = newAccount();
    await writer.accounts.insert(account);
    datasets = Array.from({ length: 50 }, () => newDataset(account.id));
    await insert(writer.datasets, ...datasets);
    ids = datasets.map(({ id }) => id);
  });

  afterAll(async () => {
    redis?.disconnect();
    await database?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  let listeners = 0;

  /** A replica that hears announcements already: what it knew before, it forgets when it begins to. */
  async function openListening(): Promise<Replica> {
    const replica = await openReplica(database.url, server.url);
    listeners += 1;
    await eventually(async () => {
      const [channel = ""] = (await redis.pubsub("CHANNELS", "*:announcements")) as string[];
      const [, count] = await redis.pubsub("NUMSUB", channel);
      return count === listeners;
    });
    // The replica was told before this answer.
    await redis.ping();
    return {
      ...replica,
      async [Symbol.asyncDispose]() {
        await replica[Symbol.asyncDispose]();
        listeners -= 1;
      },
    };
  }

  /** Round trips: commands that clients sent, scripts' inner ones not counted. */
  async function redisCalls(): Promise<Record<string, number>> {
    const stats = await redis.info("commandstats");
    const calls = [...stats.matchAll(/cmdstat_(mget|evalsha|eval):calls=(\d+)/g)];
    return Object.fromEntries(calls.map(([, name = "", count]) => [name, Number(count)]));
  }

  async function cost(work: () => Promise<unknown>) {
    await redis.config("RESETSTAT");
    const before = await database.statementCount();
    await work();
    return { statements: (await database.statementCount()) - before, redis: await redisCalls() };
  }

  const stored = () => eventually(async () => (await redis.keys("*:dataset:*")).length === ids.length);

  test("cold: one statement, and two round trips to Redis; warm there: one; warm here: none", async () => {
    await using first = await openListening();
    // Redis learns the script once in its life: not what is counted here.
    await first.datasets.tryFindMany([newDataset("").id]);
    await eventually(async () => (await redis.keys("*:dataset:*")).length === 1);
    await redis.flushdb();

    const cold = await cost(async () => {
      expect((await first.datasets.tryFindMany(ids)).size).toBe(50);
      await stored();
    });
    expect(cold).toEqual({ statements: 1, redis: { mget: 1, evalsha: 1 } });

    await using second = await openListening();
    const inRedis = await cost(async () => expect((await second.datasets.tryFindMany(ids)).size).toBe(50));
    expect(inRedis).toEqual({ statements: 0, redis: { mget: 1 } });

    const inProcess = await cost(async () => expect((await second.datasets.tryFindMany(ids)).size).toBe(50));
    expect(inProcess).toEqual({ statements: 0, redis: {} });
  });

  test("1,000 cold batches of the same ids at once cost one statement", async () => {
    await redis.flushdb();
    await using replica = await openListening();
    const storm = await cost(async () => {
      await Promise.all(Array.from({ length: 1000 }, () => replica.datasets.tryFindMany(ids)));
      await stored();
    });
    expect(storm).toEqual({ statements: 1, redis: { mget: 1, evalsha: 1 } });
  });

  test("without Redis a cold batch is one statement, a warm one none", async () => {
    await using replica = await openReplica(database.url, undefined);
    expect((await cost(() => replica.datasets.tryFindMany(ids))).statements).toBe(1);
    expect((await cost(() => replica.datasets.tryFindMany(ids))).statements).toBe(0);
  });
});
