import { randomUUID } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { canStartPostgres, startPostgres } from "../../harness/servers.mjs";
import type { ApiKey } from "../../src/domain/api-keys/api-key.js";
import { createPrismaApiKeyStore } from "../../src/stores/prisma/api-key-store.js";
import { type Database, openDatabase } from "../../src/stores/prisma/database.js";
import { createLastUsedRecorder } from "../../src/stores/prisma/last-used.js";
import { postgresUrl } from "../harness/postgres.js";
import {
  insertAccount,
  insertApiKey,
  newAccount,
  newApiKey,
  openEmbeddedFixture,
  openPostgresFixture,
  type StoreFixture,
  writerTo,
} from "./store-fixture.js";

/** The tests flush themselves. */
const NEVER_MS = 2 ** 31 - 1;
const FIRST = new Date("2026-11-21T10:00:00.001Z");
const SECOND = new Date("2026-11-21T10:00:00.002Z");

describe("over the embedded database", () => describeRecorder(openEmbeddedFixture));

describe.skipIf(!postgresUrl())("over PostgreSQL", () => {
  describeRecorder(openPostgresFixture);

  test("replicas that flush the same keys at once neither lose a use nor wait for each other in a circle", async () => {
    await using fixture = await openPostgresFixture();
    const keys = await insertKeys(fixture.database, 300);
    const replicas = Array.from({ length: 4 }, () => startRecorder(fixture.database));
    for (const [replica, { recorder }] of replicas.entries()) {
      for (const { id } of replica % 2 === 0 ? keys : keys.toReversed()) {
        recorder.record(id, new Date(FIRST.getTime() + replica));
      }
    }
    await Promise.all(replicas.map(({ recorder }) => recorder.flush()));
    const lastUsed = new Date(FIRST.getTime() + 3);
    for (const key of keys) expect(await fixture.apiKeys.read(key.id)).toEqual({ ...key, lastUsed });
    for (const { warn } of replicas) expect(warn).not.toHaveBeenCalled();
  });
});

describe.skipIf(!canStartPostgres())("while the database is away", () => {
  test("uses are kept for the next time, and neither recording nor flushing fails", async () => {
    await using server = await startPostgres();
    await using database = await openDatabase({ url: server.url });
    await database.migrate();
    const [used, usedLater] = await insertKeys(database);
    const { recorder, warn } = startRecorder(database);
    await server.stop();
    recorder.record(used.id, FIRST);
    recorder.record(usedLater.id, FIRST);
    const flushed = recorder.flush();
    recorder.record(usedLater.id, SECOND);
    await flushed;
    expect(warn).toHaveBeenCalledOnce();
    await server.restart();
    await recorder.flush();
    const store = createPrismaApiKeyStore(database);
    expect(await store.read(used.id)).toEqual({ ...used, lastUsed: FIRST });
    expect(await store.read(usedLater.id)).toEqual({ ...usedLater, lastUsed: SECOND });
  });
});

function describeRecorder(open: () => Promise<StoreFixture>): void {
  let fixture: StoreFixture;
  let keys: readonly [ApiKey, ApiKey, ...ApiKey[]];
  beforeAll(async () => {
    fixture = await open();
    keys = await insertKeys(fixture.database);
  });
  afterAll(() => fixture?.[Symbol.asyncDispose]());

  test("the newest use is written, whatever the order, and nothing else of the key changes", async () => {
    const [key, other] = keys;
    const { recorder } = startRecorder(fixture.database);
    recorder.record(key.id, SECOND);
    recorder.record(key.id, FIRST);
    recorder.record(randomUUID(), FIRST);
    await recorder.flush();
    expect(await fixture.apiKeys.read(key.id)).toEqual({ ...key, lastUsed: SECOND });
    expect(await fixture.apiKeys.read(other.id)).toEqual(other);
    recorder.record(key.id, FIRST);
    await recorder.flush();
    expect(await fixture.apiKeys.read(key.id)).toEqual({ ...key, lastUsed: SECOND });
  });

  test("what is recorded is written at the end", async () => {
    const [key] = await insertKeys(fixture.database);
    {
      await using recorder = startRecorder(fixture.database).recorder;
      recorder.record(key.id, FIRST);
    }
    expect(await fixture.apiKeys.read(key.id)).toEqual({ ...key, lastUsed: FIRST });
  });

  test("what is recorded is written after the interval", async () => {
    const [key] = await insertKeys(fixture.database);
    await using recorder = startRecorder(fixture.database, 1).recorder;
    recorder.record(key.id, FIRST);
    while ((await fixture.apiKeys.read(key.id))?.lastUsed === undefined) await setImmediate();
  });

  test("more uses than a statement takes are written", async () => {
    const [key] = await insertKeys(fixture.database);
    const { recorder, warn } = startRecorder(fixture.database);
    for (let other = 0; other < 12_000; other++) recorder.record(randomUUID(), FIRST);
    recorder.record(key.id, FIRST);
    await recorder.flush();
    expect(await fixture.apiKeys.read(key.id)).toEqual({ ...key, lastUsed: FIRST });
    expect(warn).not.toHaveBeenCalled();
  });
}

function startRecorder(database: Database, flushIntervalMs = NEVER_MS) {
  const warn = vi.fn();
  return { warn, recorder: createLastUsedRecorder({ database, log: { warn }, flushIntervalMs }) };
}

/** Keys of a new account, two at least. */
async function insertKeys(database: Database, count = 2): Promise<[ApiKey, ApiKey, ...ApiKey[]]> {
  const account = newAccount();
  await insertAccount(writerTo(database), account);
  const keys: [ApiKey, ApiKey, ...ApiKey[]] = [newApiKey(account.id), newApiKey(account.id)];
  while (keys.length < count) keys.push(newApiKey(account.id));
  for (const key of keys) await insertApiKey(writerTo(database), key);
  return keys;
}
