import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { canStartPostgres, type Server, startPostgres } from "../../harness/servers.mjs";
import { DomainError } from "../../src/domain/errors.js";
import { createPrismaAccountStore } from "../../src/stores/prisma/account-store.js";
import { type Database, openDatabase } from "../../src/stores/prisma/database.js";
import { createPrismaDatasetStore } from "../../src/stores/prisma/dataset-store.js";
import { createTestDatabase, postgresUrl } from "../harness/postgres.js";
import { insertAccount, newAccount, newDataset, saveDatasets, writerTo } from "./store-fixture.js";
import { startWriter } from "./writer.js";

const isUnavailable = expect.toSatisfy(
  (error) => error instanceof DomainError && error.kind === "unavailable" && error.cause !== undefined,
);

describe("a PostgreSQL that is not there", () => {
  test.each([
    ["refuses connections", "postgresql://127.0.0.1:1/tilegate"],
    ["has a name that does not resolve", "postgresql://nowhere.invalid/tilegate"],
  ])("is unavailable at once when it %s", async (_, url) => {
    await using database = await openDatabase({ url });
    await expectUnavailable(database);
  });

  test("is unavailable within the connection timeout when it accepts and never answers", async () => {
    const silent = createServer().listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { port } = silent.address() as AddressInfo;
    await using database = await openDatabase({
      url: `postgresql://127.0.0.1:${port}/x`,
      connectTimeoutMs: 200,
    });
    const start = performance.now();
    await expectUnavailable(database);
    // Four calls, one after the other.
    expect(performance.now() - start).toBeLessThan(4 * 1_000);
    silent.close();
  });
});

describe.skipIf(!postgresUrl())("PostgreSQL", () => {
  test("reads the metadata of 50 datasets in one statement", async () => {
    await using server = await createTestDatabase();
    await using database = await openDatabase({ url: server.url });
    await database.migrate();
    const account = newAccount();
    await insertAccount(writerTo(database), account);
    const datasets = createPrismaDatasetStore(database);
    const saved = Array.from({ length: 50 }, () => newDataset(account.id));
    await saveDatasets(writerTo(database), ...saved);
    const before = await server.statementCount();
    const found = await datasets.readMany(saved.map((dataset) => dataset.id));
    expect((await server.statementCount()) - before).toBe(1);
    expect(found.size).toBe(50);
  });

  test("keeps times whatever the time zone, and finds its tables whatever the search path, of the database", async () => {
    await using server = await createTestDatabase();
    await execute(
      server.url,
      `CREATE SCHEMA elsewhere;
       DO $$ BEGIN
         EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Tokyo''', current_database());
         EXECUTE format('ALTER DATABASE %I SET search_path = elsewhere', current_database());
       END $$`,
    );
    await using database = await openDatabase({ url: server.url });
    await database.migrate();
    const accounts = createPrismaAccountStore(database);
    const account = newAccount();
    await insertAccount(writerTo(database), account);
    expect(await accounts.read(account.id)).toEqual(account);
    expect(
      await execute(server.url, "SELECT extract(epoch FROM created)::float8 AS s FROM public.accounts"),
    ).toEqual([{ s: account.created.getTime() / 1000 }]);
  });

  test("knows its sessions by name, and a URL may give them another and options of its own", async () => {
    await using server = await createTestDatabase();
    const sessions = async (suffix: string): Promise<unknown> => {
      await using database = await openDatabase({ url: `${server.url}${suffix}` });
      return await database.prisma.$queryRaw`
        SELECT current_setting('application_name') AS name, current_setting('work_mem') AS memory,
               current_setting('TimeZone') AS zone`;
    };
    expect(await sessions("?options=-c%20work_mem%3D7MB")).toEqual([
      { name: "tilegate", memory: "7MB", zone: "UTC" },
    ]);
    expect(await sessions("?application_name=replica-2")).toMatchObject([{ name: "replica-2", zone: "UTC" }]);
  });

  test("is unavailable while a statement takes too long, and when no connection becomes free", async () => {
    await using server = await createTestDatabase();
    await using database = await openDatabase({
      url: server.url,
      poolSize: 1,
      connectTimeoutMs: 200,
      statementTimeoutMs: 600,
    });
    await database.migrate();
    const datasets = createPrismaDatasetStore(database);
    const blocker = new pg.Client({ connectionString: server.url });
    await blocker.connect();
    await blocker.query("BEGIN; LOCK TABLE datasets");
    const slow = datasets.readMany([randomUUID()]);
    const starved = createPrismaAccountStore(database).readSole();
    await Promise.all([slow, starved].map((call) => expect(call).rejects.toEqual(isUnavailable)));
    await blocker.end();
    expect(await datasets.readMany([randomUUID()])).toEqual(new Map());
  });

  test("keeps what it acknowledged when the process is killed", async () => {
    await using server = await createTestDatabase();
    const writer = await startWriter({ url: server.url }, "survivor");
    await writer.kill9();
    await using database = await openDatabase({ url: server.url });
    expect(await createPrismaAccountStore(database).readByName("survivor")).toBeDefined();
  });
});

describe.skipIf(!canStartPostgres())("a PostgreSQL that fails", () => {
  let server: Server;
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  test("is unavailable while it is down, and what was acknowledged is there when it is back", async () => {
    await using database = await openDatabase({ url: server.url });
    await database.migrate();
    const accounts = createPrismaAccountStore(database);
    const account = newAccount();
    await insertAccount(writerTo(database), account);
    await server.kill9();
    await expectUnavailable(database);
    await server.restart();
    expect(await accounts.read(account.id)).toEqual(account);
  });

  test("is unavailable to calls that it is in the middle of, and well for those after a restart", async () => {
    await using database = await openDatabase({ url: server.url });
    await database.migrate();
    const datasets = createPrismaDatasetStore(database);
    const cut = writerTo(database).unitOfWork.write(async ({ accounts }) => {
      await accounts.readSole();
      await server.restart();
      await accounts.readSole();
    });
    await expect(cut).rejects.toEqual(isUnavailable);
    expect(await datasets.readMany([randomUUID()])).toEqual(new Map());
  });

  test("never acknowledges a write into a transaction that hung before", async () => {
    await using database = await openDatabase({ url: server.url, poolSize: 1, statementTimeoutMs: 1_000 });
    await database.migrate();
    const [before] = await backends(database);
    const hung = writerTo(database).unitOfWork.write(async ({ accounts }) => {
      await accounts.readSole();
      process.kill(Number(before), "SIGSTOP");
      await accounts.readSole();
    });
    await expect(hung).rejects.toEqual(isUnavailable);
    process.kill(Number(before), "SIGCONT");
    const account = newAccount();
    await insertAccount(writerTo(database), account);
    expect(await execute(server.url, `SELECT name FROM accounts WHERE id = '${account.id}'`)).toEqual([
      { name: account.name },
    ]);
  });
});

async function expectUnavailable(database: Database): Promise<void> {
  const datasets = createPrismaDatasetStore(database);
  await expect(database.ping()).rejects.toEqual(isUnavailable);
  await expect(database.migrate()).rejects.toEqual(isUnavailable);
  await expect(datasets.readMany([randomUUID()])).rejects.toEqual(isUnavailable);
  // Of whatever kind: no store has to remember it.
  await expect(database.prisma.account.findMany()).rejects.toEqual(isUnavailable);
  await expect(database.prisma.$executeRaw`SELECT 1`).rejects.toEqual(isUnavailable);
  await expect(database.transaction(async () => {})).rejects.toEqual(isUnavailable);
  await expect(writerTo(database).unitOfWork.write(async () => {})).rejects.toEqual(isUnavailable);
}

async function execute(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

/** Process ids of the sessions that `database` holds. */
async function backends(database: Database): Promise<unknown[]> {
  const rows = await database.prisma.$queryRaw<{ pid: number }[]>`SELECT pg_backend_pid() AS pid`;
  return rows.map((row) => row.pid);
}
