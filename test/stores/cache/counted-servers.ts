import { Redis } from "ioredis";
import { startRedis } from "../../../harness/servers.mjs";
import type { Clock } from "../../../src/domain/clock.js";
import { eventually } from "../../harness/eventually.js";
import { createTestDatabase, type TestDatabase } from "../../harness/postgres.js";
import { anybody, openReplica, type Replica } from "../../harness/replicas.js";
import { newDataset } from "../store-fixture.js";

/** What work cost, as the servers themselves counted it. */
export interface Cost {
  readonly statements: number;
  /** Round trips by command. */
  readonly redis: Readonly<Record<string, number>>;
}

/** A database and a Redis of the test's own. */
export interface CountedServers extends AsyncDisposable {
  readonly database: TestDatabase;
  readonly redis: Redis;
  /** A replica that hears announcements already: what it knew before, it forgets when it begins to. */
  openListening(clock?: Clock): Promise<Replica>;
  /** Of `work`, which waits for what it goes on with in the background. */
  cost(work: () => Promise<unknown>): Promise<Cost>;
}

export async function startCountedServers(): Promise<CountedServers> {
  const server = await startRedis();
  const redis = new Redis(server.url);
  const database = await createTestDatabase();
  let listeners = 0;

  /** Round trips: commands that clients sent, scripts' inner ones not counted. */
  async function redisCalls(): Promise<Record<string, number>> {
    const stats = await redis.info("commandstats");
    const calls = [...stats.matchAll(/cmdstat_(mget|evalsha|eval):calls=(\d+)/g)];
    return Object.fromEntries(calls.map(([, name = "", count]) => [name, Number(count)]));
  }

  async function openListening(clock?: Clock): Promise<Replica> {
    const replica = await openReplica(database.url, server.url, 60, clock);
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

  // Redis learns the script once in its life: not what is counted.
  await using first = await openListening();
  await first.datasets.lookUp([newDataset("").id], anybody);
  await eventually(async () => (await redis.keys("*:dataset:*")).length === 1);
  await redis.flushdb();

  return {
    database,
    redis,
    openListening,
    async cost(work) {
      await redis.config("RESETSTAT");
      const before = await database.statementCount();
      await work();
      return { statements: (await database.statementCount()) - before, redis: await redisCalls() };
    },
    async [Symbol.asyncDispose]() {
      redis.disconnect();
      await database[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}
