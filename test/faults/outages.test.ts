import { describe, expect, test } from "vitest";
import { canStartRedis, startRedis } from "../../harness/servers.mjs";
import { openDatabase } from "../../src/stores/prisma/database.js";
import { createRedis } from "../../src/stores/redis/redis.js";
import { eventually } from "../harness/eventually.js";
import { createTestDatabase, postgresUrl } from "../harness/postgres.js";
import { redisUrl } from "../harness/redis.js";
import { anybody, nextRevision, openReplica } from "../harness/replicas.js";
import { insertAccount, newAccount, newDataset, saveDatasets } from "../stores/store-fixture.js";
import { startFaultProxy } from "./fault-proxy.js";

const silent = { info: () => {}, warn: () => {} };

test.skipIf(!redisUrl())("a connection to Redis that no longer answers is replaced", async () => {
  await using proxy = await startFaultProxy(redisUrl() ?? "");
  await using connection = createRedis(proxy.url, { log: silent });
  await connection.settled;
  proxy.strand();
  const ready = new Promise<void>((resolve) => connection.client.once("ready", () => resolve()));
  await expect(connection.client.ping()).rejects.toThrow();
  await ready;
  expect(await connection.client.ping()).toBe("PONG");
});

test.skipIf(!postgresUrl())("connections to PostgreSQL that no longer answer are replaced", async () => {
  await using server = await createTestDatabase();
  await using proxy = await startFaultProxy(server.url);
  await using database = await openDatabase({ url: proxy.url });
  await Promise.all(Array.from({ length: 10 }, () => database.ping()));
  proxy.strand();
  const start = performance.now();
  await expect(database.ping()).rejects.toMatchObject({ kind: "unavailable" });
  expect(performance.now() - start).toBeLessThan(2_000);
  // Each of the pool's ten fails one call at most.
  await Promise.allSettled(Array.from({ length: 9 }, () => database.ping()));
  await eventually(() =>
    database.ping().then(
      () => true,
      () => false,
    ),
  );
});

describe.skipIf(!postgresUrl() || !canStartRedis())(
  "a change made while its writer can't reach Redis",
  () => {
    test("is announced when it can: Redis' former state is not served until it expires", async () => {
      await using database = await createTestDatabase();
      await using redis = await startRedis();
      await using proxy = await startFaultProxy(redis.url);
      await using here = await openReplica(database.url, proxy.url);
      await using there = await openReplica(database.url, redis.url);
      const account = newAccount();
      const dataset = newDataset(account.id);
      await insertAccount(here, account);
      await saveDatasets(here, dataset);
      const seenThere = async () => (await there.datasets.lookUp([dataset.id], anybody)).get(dataset.id);
      expect(await seenThere()).toMatchObject({ visibility: "public" });

      await proxy.refuse();
      await saveDatasets(here, nextRevision(dataset, { visibility: "private" }));
      expect(await seenThere()).toMatchObject({ visibility: "public" });
      await proxy.pass();
      await eventually(async () => (await seenThere())?.visibility === "private");
    });
  },
);
