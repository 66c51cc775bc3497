import { randomBytes } from "node:crypto";
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { canStartRedis, startRedis } from "../../../harness/servers.mjs";
import type { Account } from "../../../src/domain/accounts/account.js";
import type { ApiKey } from "../../../src/domain/api-keys/api-key.js";
import { systemClock } from "../../../src/domain/clock.js";
import type { Dataset } from "../../../src/domain/datasets/dataset.js";
import { createDatasets } from "../../../src/domain/datasets/datasets.js";
import { OPERATOR } from "../../../src/domain/identity/principal.js";
import { ConcurrentChangeError } from "../../../src/domain/store.js";
import { createSigningKeyRing } from "../../../src/domain/tile-tokens/key-ring.js";
import { revocationAt } from "../../../src/domain/tile-tokens/revocation.js";
import { createTileTokens } from "../../../src/domain/tile-tokens/tile-tokens.js";
import { createCursors } from "../../../src/front/cursors.js";
import { eventually } from "../../harness/eventually.js";
import { createTestDatabase, postgresUrl, type TestDatabase } from "../../harness/postgres.js";
import { redisUrl } from "../../harness/redis.js";
import { anybody, holdReads, nextRevision, openReplica, type Replica } from "../../harness/replicas.js";
import {
  insertAccount,
  insertApiKey,
  insertServiceToken,
  newAccount,
  newApiKey,
  newDataset,
  newSealedToken,
  replaceApiKey,
  revokeServiceToken,
  saveDatasets,
} from "../store-fixture.js";

describe.skipIf(!postgresUrl() || !redisUrl())("two replicas on one PostgreSQL and one Redis", () => {
  let database: TestDatabase;
  let here: Replica;
  let there: Replica;
  let redis: Redis;
  let account: Account;

  beforeAll(async () => {
    database = await createTestDatabase();
    here = await openReplica(database.url, redisUrl());
    there = await openReplica(database.url, redisUrl());
    redis = new Redis(redisUrl() ?? "");
  });

  afterAll(async () => {
    redis?.disconnect();
    await here?.[Symbol.asyncDispose]();
    await there?.[Symbol.asyncDispose]();
    await database?.[Symbol.asyncDispose]();
  });

  beforeEach(async () => {
    account = newAccount();
    await insertAccount(here, account);
  });

  const seen = async (replica: Replica, { id }: Dataset) =>
    (await replica.datasets.lookUp([id], anybody)).get(id);

  /** Redis forgets one entry: other files of tests use the server too. */
  const forget = async (name: string) => redis.del(...(await redis.keys(`*:${name}`)));

  /** Where no announcement is awaited, both replicas must have finished what they do in the background. */
  const filled = ({ id }: Dataset) =>
    eventually(async () => (await redis.keys(`*:dataset:${id}`)).length === 1);

  test("a change on one is seen by the other", async () => {
    const dataset = newDataset(account.id);
    await saveDatasets(here, dataset);
    expect(await seen(there, dataset)).toMatchObject({ visibility: "public" });
    await saveDatasets(here, nextRevision(dataset, { visibility: "private" }));
    expect(await seen(here, dataset)).toMatchObject({ visibility: "private" });
    await eventually(async () => (await seen(there, dataset))?.visibility === "private");
  });

  test("a deletion on one is seen by the other", async () => {
    const dataset = newDataset(account.id);
    await saveDatasets(here, dataset);
    expect(await seen(there, dataset)).toBeDefined();
    await saveDatasets(here, nextRevision(dataset, { deleted: new Date() }));
    await eventually(async () => (await seen(there, dataset)) === undefined);
  });

  test("a dataset that was looked for in vain is found once it is there", async () => {
    const dataset = newDataset(account.id);
    expect(await seen(there, dataset)).toBeUndefined();
    await saveDatasets(here, dataset);
    await eventually(async () => (await seen(there, dataset)) !== undefined);
  });

  test("a revoked API key, and a token that two rotations have left behind, are refused by the other", async () => {
    const key = newApiKey(account.id);
    await insertApiKey(here, key);
    const find = (hash: Uint8Array) => there.apiKeys.lookUp([hash]);
    expect(await find(key.current.lookupHash)).toMatchObject({ id: key.id });

    const rotate = (former: ApiKey) =>
      replaceApiKey(
        here,
        { ...former, current: newSealedToken(), previous: { ...former.current, expireTime: new Date() } },
        former,
      );
    const once = await rotate(key);
    const twice = await rotate(once);
    await eventually(async () => (await find(key.current.lookupHash)) === undefined);
    expect(await find(once.current.lookupHash)).toMatchObject({ revision: 3 });

    await replaceApiKey(here, { ...twice, deleted: new Date() }, twice);
    await eventually(async () => (await find(twice.current.lookupHash))?.deleted !== undefined);
  });

  test("a revoked service token is refused by the other", async () => {
    const { id } = newAccount();
    const secretHash = newSealedToken().lookupHash;
    await insertServiceToken(here, { id, accountId: account.id, name: "", secretHash, created: new Date() });
    expect(await there.serviceTokens.lookUp(secretHash)).toMatchObject({ id });
    await revokeServiceToken(here, id, new Date());
    await eventually(async () => (await there.serviceTokens.lookUp(secretHash))?.revoked !== undefined);
  });

  const lifetime = { ttlSeconds: 900, minValiditySeconds: 60 };
  const keyRing = createSigningKeyRing("hmac", { hmac: ["a key of both replicas"], ed25519: [] });
  const tileTokensOf = ({ datasets, scopes, generation }: Replica) =>
    createTileTokens({ datasets, scopes, generation, keyRing, lifetime, clock: systemClock });
  const revoke = (replica: Replica, { id }: Dataset) =>
    createDatasets({
      unitOfWork: replica.unitOfWork,
      store: replica.datasets,
      tenancy: "single",
      revocationAt: (dataset, now) => revocationAt(dataset, now, lifetime),
      cursors: createCursors([randomBytes(32)]),
      clock: systemClock,
    }).revokeTokens(OPERATOR, id);

  test("tokens that are revoked on one are refused by the other, which signs later ones at once", async () => {
    const tileTokens = tileTokensOf(there);
    const mint = async () => (await tileTokens.get([], dataset.id)).token;
    const dataset = newDataset(account.id);
    await saveDatasets(here, dataset);
    const token = await mint();
    expect(await tileTokens.verify(token)).toMatchObject({ valid: true, dataset: { id: dataset.id } });
    const revokedUntilExp = await revoke(here, dataset);
    await eventually(async () => !(await tileTokens.verify(token)).valid);
    expect((await mint()).exp).toBe(revokedUntilExp + 1);
    expect(await tileTokens.verify(await mint())).toMatchObject({ valid: true });
  });

  test("a token of a replica that was reading the old row is refused, too", async () => {
    const dataset = newDataset(account.id);
    await saveDatasets(here, dataset);
    await forget(dataset.id);
    const slow = await openReplica(database.url, redisUrl());
    const tileTokens = tileTokensOf(slow);
    const { hasRead, release } = holdReads(slow.database, "readJson");
    const answer = tileTokens.get([], dataset.id);
    await hasRead;
    const revokedUntilExp = await revoke(here, dataset);
    release();
    const { token } = await answer;
    expect(token.exp).toBeLessThanOrEqual(revokedUntilExp);
    for (const replica of [here, there, slow]) {
      await eventually(async () => !(await tileTokensOf(replica).verify(token)).valid);
    }
    await slow[Symbol.asyncDispose]();
  });

  test("a slow reader of the old row can't put it back over the new one, here or in Redis", async () => {
    const dataset = newDataset(account.id);
    await saveDatasets(here, dataset);
    await forget(dataset.id);
    const slow = await openReplica(database.url, redisUrl());
    const { hasRead, release } = holdReads(slow.database, "readJson");
    const answer = seen(slow, dataset);
    await hasRead;
    await saveDatasets(here, nextRevision(dataset, { visibility: "private" }));
    release();
    expect(await answer).toMatchObject({ visibility: "public" });

    await eventually(async () => (await seen(slow, dataset))?.visibility === "private");
    const [key = ""] = await redis.keys(`*:dataset:${dataset.id}`);
    expect(await redis.get(key)).toMatch(/^\d+:2:/);
    await slow[Symbol.asyncDispose]();
  });

  test("a slow reader of an API key that was deleted meanwhile can't bring it back", async () => {
    const key = newApiKey(account.id);
    await insertApiKey(here, key);
    await forget(Buffer.from(key.current.lookupHash).toString("hex"));
    const slow = await openReplica(database.url, redisUrl());
    const { hasRead, release } = holdReads(slow.database.prisma.apiKey, "findFirst");
    const find = () => slow.apiKeys.lookUp([key.current.lookupHash]);
    const answer = find();
    await hasRead;
    await replaceApiKey(here, { ...key, deleted: new Date() }, key);
    release();
    expect(await answer).toMatchObject({ revision: 1 });
    await eventually(async () => (await find())?.revision === 2);
    expect((await here.apiKeys.lookUp([key.current.lookupHash]))?.deleted).toBeDefined();
    await slow[Symbol.asyncDispose]();
  });

  test.skipIf(!canStartRedis())("after a lost subscription nothing from before it counts", async () => {
    // One of its own: the shared one has subscriptions of others.
    await using server = await startRedis();
    await using writer = await openReplica(database.url, server.url);
    await using reader = await openReplica(database.url, server.url);
    const admin = new Redis(server.url);
    const dataset = newDataset(account.id);
    await saveDatasets(writer, dataset);
    expect(await seen(reader, dataset)).toMatchObject({ visibility: "public" });
    await admin.client("KILL", "TYPE", "pubsub");
    await saveDatasets(writer, nextRevision(dataset, { visibility: "private" }));
    await eventually(async () => (await seen(reader, dataset))?.visibility === "private");
    admin.disconnect();
  });

  test("an entry of another version, or a broken one, is read from the database", async () => {
    const dataset = newDataset(account.id);
    await saveDatasets(here, dataset);
    await seen(here, dataset);
    await filled(dataset);
    const [key = ""] = await redis.keys(`*:dataset:${dataset.id}`);
    for (const broken of [
      "2:1:1800000000000:[]",
      "3:1:1900000000000:[1,2]",
      "3:1:1900000000000:{",
      "garbage",
      "",
    ]) {
      await redis.set(key, broken);
      const fresh = await openReplica(database.url, redisUrl());
      expect(await seen(fresh, dataset)).toMatchObject({ id: dataset.id, visibility: "public" });
      await fresh[Symbol.asyncDispose]();
    }
  });

  test("of two accounts that are created at once neither is taken for the only one", async () => {
    await using empty = await createTestDatabase();
    await using first = await openReplica(empty.url, redisUrl());
    await using second = await openReplica(empty.url, redisUrl());
    const waits = async () =>
      (
        await first.database.prisma.$queryRaw<unknown[]>`
        SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`
      ).length > 0;
    let creating: Promise<void> | undefined;
    let isCreated = false;
    await first.unitOfWork.write(async ({ accounts }) => {
      await accounts.insert(newAccount());
      creating = second.unitOfWork.write(async (transaction) => {
        await transaction.accounts.insert(newAccount());
        isCreated = true;
      });
      await eventually(async () => isCreated || (await waits()));
    });
    await creating;
    for (const replica of [first, second]) {
      await eventually(async () => (await replica.accounts.lookUpSole()) === undefined);
    }
  });

  test("what is undone is not announced, nor what was tried in vain before", async () => {
    const dataset = newDataset(account.id);
    const undone = here.unitOfWork.write(async ({ datasets }) => {
      await datasets.save([dataset]);
      throw new Error("on second thoughts");
    });
    await expect(undone).rejects.toThrow("on second thoughts");
    expect(here.datasets.known(dataset.id)).toBeUndefined();
    const lost = newDataset(account.id);
    let attempts = 0;
    await here.unitOfWork.write(async ({ datasets }) => {
      attempts += 1;
      if (attempts === 1) {
        await datasets.save([lost]);
        throw new ConcurrentChangeError();
      }
      await datasets.save([dataset]);
    });
    expect(here.datasets.known(dataset.id)).toEqual(dataset);
    expect(here.datasets.known(lost.id)).toBeUndefined();
  });

  test("a write of any kind ends what was made of older answers, here and there", async () => {
    const token = { ...newAccount(), accountId: account.id, secretHash: newSealedToken().lookupHash };
    for (const write of [
      () => insertAccount(here, newAccount()),
      () => insertServiceToken(here, token),
      () => insertApiKey(here, newApiKey(account.id)),
      () => saveDatasets(here, newDataset(account.id)),
    ]) {
      const before = [here.generation(), there.generation()] as const;
      await write();
      expect(here.generation()).toBeGreaterThan(before[0]);
      await eventually(async () => there.generation() > before[1]);
    }
  });

  test("an installation's entries are not read by another one on the same Redis", async () => {
    const name = `shared ${account.id}`;
    await insertAccount(here, newAccount({ name }));
    expect(await here.accounts.lookUpByName(name)).toBeDefined();
    const otherDatabase = await createTestDatabase();
    const stranger = await openReplica(otherDatabase.url, redisUrl());
    expect(await stranger.accounts.lookUpByName(name)).toBeUndefined();
    await stranger[Symbol.asyncDispose]();
    await otherDatabase[Symbol.asyncDispose]();
  });
});
