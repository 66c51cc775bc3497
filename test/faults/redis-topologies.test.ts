import { readFileSync } from "node:fs";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { canStartRedis } from "../../harness/servers.mjs";
import { startTilegate } from "../../harness/tilegate.mjs";
import type { Dataset } from "../../src/domain/datasets/dataset.js";
import { createRedis } from "../../src/stores/redis/redis.js";
import { eventually } from "../harness/eventually.js";
import { createTestDatabase, postgresUrl, type TestDatabase } from "../harness/postgres.js";
import { anybody, nextRevision, openReplica, type Replica } from "../harness/replicas.js";
import { insertAccount, newAccount, newApiKey, newDataset, saveDatasets } from "../stores/store-fixture.js";
import { type RedisServers, startCluster, startSentinel, startTlsRedis } from "./redis-servers.js";
import { createSeededInstallation } from "./seeded-installation.js";

const silent = { info: () => {}, warn: () => {} };
const LIMIT = { requests: 3, windowSeconds: 60 };
const NOW = new Date("2026-11-21T10:00:00Z");

const runs = postgresUrl() !== undefined && canStartRedis();

describe.skipIf(!runs).each([
  ["a sentinel", startSentinel, "the master is killed"],
  ["a cluster of three", () => startCluster(3), "the node that they listen to is killed"],
] as const)("two replicas that find Redis through %s", (_name, start, accident) => {
  let redis: RedisServers;
  let database: TestDatabase;
  let here: Replica;
  let there: Replica;
  let dataset: Dataset;

  beforeAll(async () => {
    redis = await start();
    database = await createTestDatabase();
    here = await openReplica(database.url, redis.url);
    there = await openReplica(database.url, redis.url);
    const account = newAccount();
    await insertAccount(here, account);
    dataset = newDataset(account.id);
    await saveDatasets(here, dataset);
  });

  afterAll(async () => {
    await here?.[Symbol.asyncDispose]();
    await there?.[Symbol.asyncDispose]();
    await database?.[Symbol.asyncDispose]();
    await redis?.[Symbol.asyncDispose]();
  });

  const revisionThere = async () =>
    (await there.datasets.lookUp([dataset.id], anybody)).get(dataset.id)?.revision;

  async function change(): Promise<number> {
    dataset = nextRevision(dataset, { title: `after ${dataset.revision}` });
    await saveDatasets(here, dataset);
    return dataset.revision;
  }

  test("hear each other's changes", async () => {
    for (let round = 0; round < 3; round++) {
      await revisionThere();
      const revision = await change();
      await until(async () => (await revisionThere()) === revision);
    }
  });

  test("share entries and limits", async () => {
    await using connection = createRedis(redis.url, { log: silent });
    await connection.settled;
    const [key = ""] = [`{tilegate:${await installationId(there)}}:dataset:${dataset.id}`];
    await until(async () => (await connection.client.get(key)) !== null);
    const { id } = newApiKey(dataset.accountId);
    const decisions = [];
    for (let use = 0; use < 4; use++) {
      decisions.push(await (use % 2 ? here : there).rateLimiter.take(id, LIMIT, NOW));
    }
    expect(decisions.map(({ allowed }) => allowed)).toEqual([true, true, true, false]);
  });

  test(`serve on, and hear each other again, when ${accident}`, async () => {
    await revisionThere();
    await redis.servers[0]?.kill9();
    // Within two seconds of being deaf by itself, and then again by announcement.
    for (let round = 0; round < 3; round++) {
      const revision = await change();
      await until(async () => (await revisionThere()) === revision);
    }
    await redis.servers[0]?.restart();
  });
});

describe.skipIf(!runs)("a sentinel's failover", () => {
  test.each(["SIGKILL", "SIGSTOP"])("is followed after %s: commands reach the new master", async (signal) => {
    await using redis = await startSentinel();
    await using connection = createRedis(redis.url, { log: silent });
    await connection.settled;
    await connection.client.set("a", "before");
    const master = Number(/process_id:(\d+)/.exec(await connection.client.info("server"))?.[1]);
    process.kill(master, signal);
    try {
      await until(async () => (await connection.client.set("a", "after").catch(() => "")) === "OK");
    } finally {
      if (signal === "SIGSTOP") process.kill(master, "SIGCONT");
    }
    const [, replica] = redis.servers;
    await using direct = createRedis(replica?.url ?? "", { log: silent });
    await direct.settled;
    expect(await direct.client.get("a")).toBe("after");
  });
});

describe.skipIf(!runs)("a Redis with TLS", () => {
  test("is used when NODE_EXTRA_CA_CERTS vouches for it, and else gone without", async () => {
    await using redis = await startTlsRedis();
    await using installation = await createSeededInstallation();
    const [id] = await installation.newDatasets(1);
    const env = { ...installation.env, REDIS_URL: redis.url };
    const admin = new Redis(redis.url, { tls: { ca: readFileSync(redis.caFile, "utf8") } });
    for (const [caFile, expected] of [
      [undefined, 0],
      [redis.caFile, 1],
    ] as const) {
      await using tilegate = await startTilegate({
        ...env,
        ...(caFile !== undefined && { NODE_EXTRA_CA_CERTS: caFile }),
      });
      expect((await fetch(`${tilegate.url}/api/tiles/token/${id}/`)).status).toBe(200);
      if (caFile === undefined) await tilegate.says(/Redis can't be reached/);
      await until(async () => (await admin.keys("*:dataset:*")).length === expected);
    }
    admin.disconnect();
  });
});

/** A failover takes its time: the election, and clients that look again. */
const until = (condition: () => Promise<boolean>) => eventually(condition, 15);

async function installationId({ database }: Replica): Promise<string> {
  const [row] = await database.prisma.$queryRaw<{ id: string }[]>`SELECT id FROM installation`;
  return row?.id ?? "";
}
