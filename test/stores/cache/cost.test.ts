import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { canStartRedis } from "../../../harness/servers.mjs";
import type { Dataset } from "../../../src/domain/datasets/dataset.js";
import { eventually } from "../../harness/eventually.js";
import { postgresUrl } from "../../harness/postgres.js";
import { anybody, openReplica } from "../../harness/replicas.js";
import { insertAccount, newAccount, newApiKey, newDataset, saveDatasets } from "../store-fixture.js";
import { type CountedServers, startCountedServers } from "./counted-servers.js";

describe.skipIf(!postgresUrl() || !canStartRedis())("the cost of a batch of 50", () => {
  let servers: CountedServers;
  let datasets: Dataset[];
  let ids: string[];

  beforeAll(async () => {
    servers = await startCountedServers();
    await using writer = await openReplica(servers.database.url, undefined);
    const account = newAccount();
    await insertAccount(writer, account);
    datasets = Array.from({ length: 50 }, () => newDataset(account.id));
    await saveDatasets(writer, ...datasets);
    ids = datasets.map(({ id }) => id);
  });

  afterAll(() => servers?.[Symbol.asyncDispose]());

  const stored = () =>
    eventually(async () => (await servers.redis.keys("*:dataset:*")).length === ids.length);

  test("cold: one statement, and two round trips to Redis; warm there: one; warm here: none", async () => {
    await using first = await servers.openListening();
    const cold = await servers.cost(async () => {
      expect((await first.datasets.lookUp(ids, anybody)).size).toBe(50);
      await stored();
    });
    expect(cold).toEqual({ statements: 1, redis: { mget: 1, evalsha: 1 } });

    await using second = await servers.openListening();
    const inRedis = await servers.cost(async () =>
      expect((await second.datasets.lookUp(ids, anybody)).size).toBe(50),
    );
    expect(inRedis).toEqual({ statements: 0, redis: { mget: 1 } });

    const inProcess = await servers.cost(async () =>
      expect((await second.datasets.lookUp(ids, anybody)).size).toBe(50),
    );
    expect(inProcess).toEqual({ statements: 0, redis: {} });
  });

  test("a change of several datasets and keys is announced once for each kind", async () => {
    await using replica = await servers.openListening();
    const accountId = datasets[0]?.accountId ?? "";
    const cost = await servers.cost(() =>
      replica.unitOfWork.write(async (transaction) => {
        for (let made = 0; made < 3; made += 1) {
          await transaction.datasets.save([newDataset(accountId)]);
          await transaction.apiKeys.insert(newApiKey(accountId));
        }
      }),
    );
    // New datasets bring scopes, too.
    expect(cost.redis).toEqual({ evalsha: 3 });
  });

  test("1,000 cold batches of the same ids at once cost one statement", async () => {
    await servers.redis.flushdb();
    await using replica = await servers.openListening();
    const storm = await servers.cost(async () => {
      await Promise.all(Array.from({ length: 1000 }, () => replica.datasets.lookUp(ids, anybody)));
      await stored();
    });
    expect(storm).toEqual({ statements: 1, redis: { mget: 1, evalsha: 1 } });
  });

  test("without Redis a cold batch is one statement, a warm one none", async () => {
    await using replica = await openReplica(servers.database.url, undefined);
    expect((await servers.cost(() => replica.datasets.lookUp(ids, anybody))).statements).toBe(1);
    expect((await servers.cost(() => replica.datasets.lookUp(ids, anybody))).statements).toBe(0);
  });

  test("5,000 usual datasets are kept, all of them", async () => {
    await using replica = await openReplica(servers.database.url, undefined);
    const account = newAccount();
    await insertAccount(replica, account);
    const many = Array.from({ length: 5_000 }, () =>
      newDataset(account.id, { visibility: "restricted", readerRoles: ["surveyor", "planner"] }),
    );
    await saveDatasets(replica, ...many);
    const all = many.map(({ id }) => id);
    const again = await servers.cost(() => replica.datasets.lookUp(all, anybody));
    expect(again.statements).toBe(0);
  });
});
