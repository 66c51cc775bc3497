import { readFileSync } from "node:fs";
import { Redis } from "ioredis";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { canStartRedis, type Server, startRedis } from "../../harness/servers.mjs";
import { startTestApp } from "../harness/app.js";
import { eventually } from "../harness/eventually.js";
import { postgresUrl } from "../harness/postgres.js";
import { type FaultProxy, startFaultProxy } from "./fault-proxy.js";
import { OPERATIONS, type Operation, type Outcome, type Replica } from "./operations.js";
import { createSeededInstallation, type SeededInstallation } from "./seeded-installation.js";

// docs/failures.md, row by row: this replica's way to PostgreSQL or Redis fails, and nothing else does.

/** A second, and half as much again for a busy machine. */
const WITHIN_MS = 1_500;

/** Twenty calls on a busy machine; with a timeout for each they would take five seconds. */
const SEVERAL_CALLS_MS = 3_000;

interface Servers {
  readonly postgres: FaultProxy;
  readonly redis: FaultProxy;
  /** Connections of the test's own, past the proxies. */
  readonly postgresAdmin: pg.Client;
  readonly redisAdmin: Redis;
  readonly redisServer: Server;
}

interface Fault {
  readonly name: string;
  begin(servers: Servers): unknown;
  end(servers: Servers): unknown;
  /** What is not "served". */
  readonly unserved?: Partial<Record<Operation, Outcome>>;
}

const DATABASE_AWAY: Partial<Record<Operation, Outcome>> = {
  "cold batch": "unavailable",
  "half-warm batch": "unavailable",
  "cold token": "unavailable",
  "API key, cold": "unavailable",
  "service token, cold": "unavailable",
  "management read": "unavailable",
  "management write": "unavailable",
  readiness: "not ready: the database can't be reached",
};

const nothing = () => undefined;

const FAULTS: Fault[] = [
  {
    name: "Redis refuses connections",
    begin: ({ redis }) => redis.refuse(),
    end: ({ redis }) => redis.pass(),
  },
  { name: "Redis hangs", begin: ({ redis }) => redis.hang(), end: ({ redis }) => redis.pass() },
  {
    name: "Redis leaves connections half-open",
    begin: ({ redis }) => redis.strand(),
    end: ({ redis }) => redis.pass(),
  },
  {
    name: "Redis answers too late",
    begin: ({ redis }) => redis.slow(200),
    end: ({ redis }) => redis.pass(),
  },
  { name: "Redis was flushed", begin: ({ redisAdmin }) => redisAdmin.flushall(), end: nothing },
  { name: "Redis was restarted", begin: ({ redisServer }) => redisServer.restart(), end: nothing },
  {
    name: "Redis refuses the password",
    begin: async ({ redis, redisAdmin }) => {
      await redisAdmin.config("SET", "requirepass", "another");
      redis.cut();
    },
    end: ({ redisAdmin }) => redisAdmin.config("SET", "requirepass", ""),
  },
  {
    name: "Redis cuts the subscription",
    begin: ({ redisAdmin }) => redisAdmin.client("KILL", "TYPE", "pubsub"),
    end: nothing,
  },
  {
    name: "PostgreSQL refuses connections",
    begin: ({ postgres }) => postgres.refuse(),
    end: ({ postgres }) => postgres.pass(),
    unserved: DATABASE_AWAY,
  },
  {
    name: "PostgreSQL hangs",
    begin: ({ postgres }) => postgres.hang(),
    end: ({ postgres }) => postgres.pass(),
    unserved: DATABASE_AWAY,
  },
  {
    name: "PostgreSQL is slow",
    begin: ({ postgres }) => postgres.slow(50),
    end: ({ postgres }) => postgres.pass(),
  },
  { name: "PostgreSQL cuts connections", begin: ({ postgres }) => postgres.cut(), end: nothing },
  {
    name: "PostgreSQL is out of connections",
    begin: async ({ postgres, postgresAdmin }) => {
      await postgresAdmin.query(`ALTER ROLE ${ROLE} CONNECTION LIMIT 0`);
      postgres.cut();
    },
    end: ({ postgresAdmin }) => postgresAdmin.query(`ALTER ROLE ${ROLE} CONNECTION LIMIT -1`),
    unserved: DATABASE_AWAY,
  },
];

const ROLE = `tilegate_faults_${process.pid}`;
const operations = Object.entries(OPERATIONS) as [Operation, (replica: Replica) => Promise<Outcome>][];

describe.skipIf(!postgresUrl() || !canStartRedis())("while one server fails", () => {
  let installation: SeededInstallation;
  let redisServer: Server;
  let postgresAdmin: pg.Client;

  beforeAll(async () => {
    redisServer = await startRedis();
    installation = await createSeededInstallation();
    postgresAdmin = new pg.Client({ connectionString: installation.databaseUrl });
    await postgresAdmin.connect();
    // A superuser has connections in reserve.
    await postgresAdmin.query(`CREATE ROLE ${ROLE} LOGIN PASSWORD 'faults'`);
    await postgresAdmin.query(`GRANT ALL ON SCHEMA public TO ${ROLE}`);
    await postgresAdmin.query(`GRANT ALL ON ALL TABLES IN SCHEMA public TO ${ROLE}`);
    await postgresAdmin.query(`GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO ${ROLE}`);
  });

  afterAll(async () => {
    await postgresAdmin?.query(`DROP OWNED BY ${ROLE}`);
    await postgresAdmin?.query(`DROP ROLE ${ROLE}`);
    await postgresAdmin?.end();
    await installation?.[Symbol.asyncDispose]();
    await redisServer?.[Symbol.asyncDispose]();
  });

  describe.each(FAULTS)("$name", ({ begin, end, unserved = {} }) => {
    let servers: Servers;
    let replica: Replica;

    beforeAll(async () => {
      const databaseUrl = new URL(installation.databaseUrl);
      databaseUrl.username = ROLE;
      databaseUrl.password = "faults";
      const redisAdmin = new Redis(redisServer.url);
      // The connection that is cut by a restart of its server.
      redisAdmin.on("error", () => undefined);
      const postgres = await startFaultProxy(databaseUrl.href);
      const redis = await startFaultProxy(redisServer.url);
      servers = { postgres, redis, postgresAdmin, redisAdmin, redisServer };
      replica = await startReplica(installation, servers);
      await begin(servers);
    });

    afterAll(async () => {
      await end(servers);
      servers.redisAdmin.disconnect();
      for (const resource of [replica?.app, servers.redis, servers.postgres]) {
        await resource?.[Symbol.asyncDispose]();
      }
    });

    test.each(operations)("%s", async (operation, run) => {
      const start = performance.now();
      expect(await run(replica)).toBe(unserved[operation] ?? "served");
      expect(performance.now() - start).toBeLessThan(WITHIN_MS);
    });

    test("one timeout at most, however many calls", async () => {
      const start = performance.now();
      const { app, warm } = replica;
      for (let use = 0; use < 20; use++) {
        const response = await app.fetch(`/api/tiles/token/${warm.privateDataset}/`, {
          headers: warm.countedApiKey,
        });
        expect(response.status).toBe(200);
      }
      expect(performance.now() - start).toBeLessThan(SEVERAL_CALLS_MS);
    });

    test("all is well within two seconds of its end", async () => {
      await end(servers);
      // The breaker's pause.
      replica.app.now = new Date(replica.app.now.getTime() + 1_000);
      await eventually(async () => (await OPERATIONS.readiness(replica)) === "served");
      await eventually(async () => (await OPERATIONS["cold token"](replica)) === "served");
      await begin(servers);
    });
  });
});

test("docs/failures.md has a row for every fault and a column for every operation", () => {
  const page = readFileSync("docs/failures.md", "utf8");
  for (const { name } of FAULTS) expect(page).toContain(`| ${name} |`);
  for (const [operation] of operations) expect(page).toContain(operation);
});

async function startReplica(
  installation: SeededInstallation,
  { postgres, redis }: Servers,
): Promise<Replica> {
  const privateDataset = await installation.newPrivateDataset();
  const datasets = await installation.newDatasets(10);
  const coldDatasets = await installation.newDatasets(200);
  const warm = {
    datasets,
    privateDataset,
    apiKey: await installation.newApiKey([privateDataset]),
    limitedApiKey: await installation.newApiKey([privateDataset], 2),
    countedApiKey: await installation.newApiKey([privateDataset], 1_000),
    serviceToken: await installation.newServiceToken(),
  };
  const cold = {
    takeDataset: () => coldDatasets.pop() ?? "",
    apiKey: await installation.newApiKey([privateDataset]),
    serviceToken: await installation.newServiceToken(),
  };
  const env = { ...installation.env, DATABASE_URL: postgres.url, REDIS_URL: redis.url };
  const app = await startTestApp(env);
  const replica: Replica = { app, installation, warm, cold };
  const warming = ["warm batch", "API key, warm", "service token, warm"] as const;
  for (const operation of warming) expect(await OPERATIONS[operation](replica)).toBe("served");
  for (const headers of [warm.limitedApiKey, warm.countedApiKey]) {
    expect((await app.fetch(`/api/tiles/token/${privateDataset}/`, { headers })).status).toBe(200);
  }
  // The window of a minute in which these uses counted is over then.
  app.now = new Date(app.now.getTime() + 20_000);
  return replica;
}
