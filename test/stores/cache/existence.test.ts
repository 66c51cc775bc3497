import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { canStartRedis } from "../../../harness/servers.mjs";
import { mayKnowOf } from "../../../src/domain/access/access.js";
import type { Dataset } from "../../../src/domain/datasets/dataset.js";
import { eventually } from "../../harness/eventually.js";
import { postgresUrl } from "../../harness/postgres.js";
import { anybody, nextRevision, type Replica } from "../../harness/replicas.js";
import { insertAccount, newAccount, newDataset, saveDatasets } from "../store-fixture.js";
import { type CountedServers, startCountedServers } from "./counted-servers.js";

/** Who measures how long "not found" takes learns what it costs: the same for what is hidden as for what isn't there. */
describe.skipIf(!postgresUrl() || !canStartRedis())(
  "a stranger who asks for another account's dataset",
  () => {
    let servers: CountedServers;
    let replica: Replica;
    let elsewhere: Replica;
    let accountId: string;
    let now = new Date("2027-01-15T08:00:00Z").getTime();
    const clock = () => new Date(now);

    beforeAll(async () => {
      servers = await startCountedServers();
      replica = await servers.openListening(clock);
      elsewhere = await servers.openListening(clock);
      const account = newAccount();
      await insertAccount(replica, account);
      accountId = account.id;
    });
    afterAll(async () => {
      for (const resource of [replica, elsewhere, servers]) await resource?.[Symbol.asyncDispose]();
    });
    // Whatever an earlier test has left is over.
    beforeEach(() => {
      now += 3_600_000;
    });

    const stranger = (dataset: Dataset) =>
      mayKnowOf(dataset, [{ type: "service", accountId: randomUUID(), serviceTokenId: randomUUID() }]);

    /** Written without Redis and this process hearing of it, as if long ago. */
    async function store(...datasets: Dataset[]) {
      await saveDatasets(elsewhere, ...datasets);
      await servers.redis.flushdb();
      await replica.datasets.lookUp([], anybody);
      now += 3_600_000;
    }
    const hidden = () => newDataset(accountId, { visibility: "private" });

    /** What the stranger's question costs. They never learn anything. */
    const cost = (ids: readonly string[], asked: Replica) =>
      servers.cost(async () => {
        const before = await servers.database.statementCount();
        expect(await asked.datasets.lookUp(ids, stranger)).toEqual(new Map());
        // What was read is put into Redis in the background.
        const reads = (await servers.database.statementCount()) - before;
        await eventually(async () => (await fills()) === reads);
      });
    async function fills(): Promise<number> {
      const stats = await servers.redis.info("commandstats");
      return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
    }

    const NOTHING = { statements: 0, redis: {} };
    const READ = { statements: 1, redis: { mget: 1, evalsha: 1 } };
    const FROM_REDIS = { statements: 0, redis: { mget: 1 } };

    /** From the first question on, and on another replica as well. */
    async function costsOf(id: string) {
      const costs = [await cost([id], replica), await cost([id], replica)];
      now += 3_000;
      costs.push(await cost([id], elsewhere), await cost([id], elsewhere), await cost([id], replica));
      now += 3_500;
      costs.push(await cost([id], replica), await cost([id], elsewhere));
      now += 61_000;
      costs.push(await cost([id], elsewhere), await cost([id], elsewhere));
      return costs;
    }
    const COSTS_OF_NOTHING = [READ, NOTHING, FROM_REDIS, NOTHING, NOTHING, READ, FROM_REDIS, READ, NOTHING];

    test("an id that is nobody's", async () => {
      expect(await costsOf(randomUUID())).toEqual(COSTS_OF_NOTHING);
    });

    test("one that nobody has asked for", async () => {
      const dataset = hidden();
      await store(dataset);
      expect(await costsOf(dataset.id)).toEqual(COSTS_OF_NOTHING);
    });

    test("one that its owner has just loaded here", async () => {
      const dataset = hidden();
      await store(dataset);
      await replica.datasets.lookUp([dataset.id], anybody);
      await eventually(async () => (await servers.redis.dbsize()) === 1);
      expect(await costsOf(dataset.id)).toEqual(COSTS_OF_NOTHING);
    });

    test("one that its owner has just loaded on another replica", async () => {
      const dataset = hidden();
      await store(dataset);
      await elsewhere.datasets.lookUp([dataset.id], anybody);
      await eventually(async () => (await servers.redis.dbsize()) === 1);
      expect(await costsOf(dataset.id)).toEqual(COSTS_OF_NOTHING);
    });

    test("one that was deleted", async () => {
      const dataset = hidden();
      await store(dataset);
      await saveDatasets(replica, nextRevision(dataset, { deleted: clock() }));
      expect(await costsOf(dataset.id)).toEqual(COSTS_OF_NOTHING);
    });

    test("many, known in the one way or the other, among such as aren't there", async () => {
      const datasets = Array.from({ length: 40 }, hidden);
      await store(...datasets);
      const ids = datasets.map(({ id }) => id);
      await replica.datasets.lookUp(ids.slice(0, 10), anybody);
      await elsewhere.datasets.lookUp(ids.slice(10, 20), anybody);
      await eventually(async () => (await servers.redis.dbsize()) === 20);
      const mixed = [...ids, ...Array.from({ length: 10 }, () => randomUUID())];
      expect(await cost(mixed, replica)).toEqual(READ);
      expect(await cost(mixed, replica)).toEqual(NOTHING);
      now += 6_500;
      expect(await cost(mixed, replica)).toEqual(READ);
    });
  },
);
