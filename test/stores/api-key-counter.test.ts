import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ApiKey } from "../../src/domain/api-keys/api-key.js";
import { postgresUrl } from "../harness/postgres.js";
import {
  countApiKeys,
  insertAccount,
  insertApiKey,
  newAccount,
  newApiKey,
  openEmbeddedFixture,
  openPostgresFixture,
  replaceApiKey,
  type StoreFixture,
} from "./store-fixture.js";

describe("over the embedded database", () => describeCounter(openEmbeddedFixture));

describe.skipIf(!postgresUrl())("over PostgreSQL", () => {
  describeCounter(openPostgresFixture);

  test("no change of the number is lost between concurrent writers", async () => {
    await using fixture = await openPostgresFixture();
    const account = newAccount();
    await insertAccount(fixture, account);
    const keys = Array.from({ length: 16 }, () => newApiKey(account.id));
    await Promise.all(keys.map((key) => insertApiKey(fixture, key)));
    expect(await countApiKeys(fixture.apiKeys, account.id)).toBe(16);
    const writes = keys.map((key, index) =>
      index % 2 === 0
        ? replaceApiKey(fixture, { ...key, deleted: new Date() }, key)
        : insertApiKey(fixture, newApiKey(account.id)),
    );
    await Promise.all([...writes, fixture.database.prisma.$executeRaw`UPDATE api_keys SET enabled = false`]);
    expect(await countApiKeys(fixture.apiKeys, account.id)).toBe(16);
  });
});

function describeCounter(open: () => Promise<StoreFixture>): void {
  let fixture: StoreFixture;
  beforeAll(async () => {
    fixture = await open();
  });
  afterAll(() => fixture?.[Symbol.asyncDispose]());

  const insertAccounts = async (...numbersOfKeys: number[]): Promise<string[]> => {
    const ids: string[] = [];
    for (const number of numbersOfKeys) {
      const account = newAccount();
      await insertAccount(fixture, account);
      for (let key = 0; key < number; key++) await insertApiKey(fixture, newApiKey(account.id));
      ids.push(account.id);
    }
    return ids;
  };
  const counts = (ids: readonly string[]) => Promise.all(ids.map((id) => countApiKeys(fixture.apiKeys, id)));

  test("statements over many keys of many accounts are counted in each", async () => {
    const { prisma } = fixture.database;
    const ids = await insertAccounts(4, 1, 0);
    const [first = "", second = "", third = ""] = ids;
    await prisma.$executeRaw`
      INSERT INTO api_keys (id, account_id, name, description, user_agent, enabled, current_hash,
        current_ciphertext, created, changed, revision, deleted)
      SELECT gen_random_uuid(), account, '', '', '', true, decode(md5(account::text || n), 'hex'), '', now(), now(), 1,
        CASE WHEN n > 100 THEN now() END
      FROM unnest(${[first, third]}::uuid[]) AS account, generate_series(1, 150) AS n`;
    expect(await counts(ids)).toEqual([104, 1, 100]);

    await prisma.$executeRaw`UPDATE api_keys SET deleted = now() WHERE account_id = ANY(${[first, second]}::uuid[])`;
    expect(await counts(ids)).toEqual([0, 0, 100]);
    await prisma.$executeRaw`UPDATE api_keys SET deleted = NULL WHERE account_id = ${second}::uuid`;
    expect(await counts(ids)).toEqual([0, 1, 100]);
    await prisma.$executeRaw`UPDATE api_keys SET account_id = ${first}::uuid WHERE account_id = ${third}::uuid`;
    expect(await counts(ids)).toEqual([100, 1, 0]);
    await prisma.$executeRaw`DELETE FROM api_keys WHERE account_id = ANY(${[first, second]}::uuid[])`;
    expect(await counts(ids)).toEqual([0, 0, 0]);
  });

  test("what is rolled back is not counted", async () => {
    const [id = ""] = await insertAccounts(2);
    const failure = new Error("changed my mind");
    const deletion = fixture.database.transaction(async (transaction) => {
      await transaction.$executeRaw`DELETE FROM api_keys WHERE account_id = ${id}::uuid`;
      throw failure;
    });
    await expect(deletion).rejects.toBe(failure);
    expect(await counts([id])).toEqual([2]);
  });

  test("a write that changes no number leaves the account's row alone, so that keys don't wait for each other", async () => {
    const [accountId = ""] = await insertAccounts(0);
    const key: ApiKey = newApiKey(accountId);
    await insertApiKey(fixture, key);
    const version = () =>
      fixture.database.prisma
        .$queryRaw`SELECT xmin::text, ctid::text FROM accounts WHERE id = ${accountId}::uuid`;
    const before = await version();
    const renamed = await replaceApiKey(fixture, { ...key, name: "New" }, key);
    expect(await version()).toEqual(before);
    await replaceApiKey(fixture, { ...renamed, deleted: new Date() }, renamed);
    expect(await version()).not.toEqual(before);
  });
}
