import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { ApiKey, ApiKeyStore } from "../../src/domain/api-keys/api-key.js";
import { ConcurrentChangeError, DuplicateError } from "../../src/domain/store.js";
import type { UnitOfWork } from "../../src/domain/unit-of-work.js";
import { allPages } from "./account-store-contract.js";
import {
  countApiKeys,
  insertAccount,
  insertApiKey,
  newAccount,
  newApiKey,
  newSealedToken,
  replaceApiKey,
} from "./store-fixture.js";

export interface ApiKeyStoreFixture extends AsyncDisposable {
  readonly apiKeys: ApiKeyStore;
  readonly unitOfWork: UnitOfWork;
}

const DELETED = new Date("2026-06-01T00:00:00.999Z");

/** What every implementation of ApiKeyStore guarantees. */
export function describeApiKeyStore(open: () => Promise<ApiKeyStoreFixture>): void {
  let fixture: ApiKeyStoreFixture;
  let store: ApiKeyStore;
  let accountId: string;
  beforeAll(async () => {
    fixture = await open();
    store = fixture.apiKeys;
  });
  afterAll(() => fixture?.[Symbol.asyncDispose]());
  beforeEach(async () => {
    accountId = await anAccount();
  });

  test("a key comes back as it was inserted and as it was replaced, whatever its fields hold", async () => {
    // PostgreSQL stores neither U+0000 nor lone surrogates: validation refuses them before.
    const text = fc.string({ unit: "binary" }).map((value) => value.replaceAll("\0", ""));
    const time = fc.date({ min: new Date("1990-01-01"), max: new Date("2100-01-01"), noInvalidDate: true });
    const bytes = fc.uint8Array({ minLength: 32, maxLength: 80 });
    const changes = fc.record(
      {
        name: text,
        description: text,
        userAgent: text,
        origins: fc.array(text, { maxLength: 4 }),
        allowedIps: fc.array(text, { maxLength: 4 }),
        enabled: fc.boolean(),
        expireTime: time,
        datasetIds: fc.array(fc.uuid(), { maxLength: 4 }),
        rateLimit: fc.record({
          requests: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
          windowSeconds: fc.integer({ min: 1, max: 86_400 }),
        }),
        previous: fc.record({ lookupHash: bytes, ciphertext: bytes, expireTime: time }),
        created: time,
        changed: time,
        deleted: time,
      },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(changes, changes, async (before, after) => {
        const inserted = newApiKey(accountId, before);
        await insertApiKey(fixture, inserted);
        expect(await store.read(inserted.id)).toEqual(inserted);
        expect(await listed(inserted)).toEqual(inserted.deleted ? undefined : inserted);
        const change = newApiKey(accountId, { ...after, id: inserted.id });
        const replaced = await replaceApiKey(fixture, change, inserted);
        expect(await store.read(inserted.id)).toEqual(replaced);
        expect(await listed(inserted)).toEqual(replaced.deleted ? undefined : replaced);
      }),
      { numRuns: 50 },
    );
  });

  test("a taken id and a taken hash are refused by name of the field", async () => {
    const key = await insert();
    await expect(insertApiKey(fixture, newApiKey(accountId, { id: key.id }))).rejects.toMatchObject({
      cause: new DuplicateError("id"),
    });
    await expect(insertApiKey(fixture, newApiKey(accountId, { current: key.current }))).rejects.toMatchObject(
      {
        cause: new DuplicateError("current_hash"),
      },
    );
  });

  test("a key is found by the hash of its current and of its previous token, among others, even deleted", async () => {
    const previous = { ...newSealedToken(), expireTime: DELETED };
    const key = await insert({ previous });
    const deleted = await insert({ deleted: DELETED });
    const unknown = newSealedToken().lookupHash;
    expect(await store.readByTokenHash([key.current.lookupHash])).toEqual(key);
    expect(await store.readByTokenHash([unknown, previous.lookupHash])).toEqual(key);
    expect(await store.readByTokenHash([deleted.current.lookupHash, unknown])).toEqual(deleted);
    expect(await store.readByTokenHash([unknown])).toBeUndefined();
    expect(await store.read(randomUUID())).toBeUndefined();
  });

  test("a token that a rotation without grace removed is not found", async () => {
    const key = await insert({ previous: { ...newSealedToken(), expireTime: DELETED } });
    const rotation = { ...key, current: newSealedToken(), previous: undefined };
    const rotated = await replaceApiKey(fixture, rotation, key);
    for (const { lookupHash } of [key.current, key.previous ?? key.current]) {
      expect(await store.readByTokenHash([lookupHash])).toBeUndefined();
    }
    expect(await store.readByTokenHash([rotated.current.lookupHash])).toEqual(rotated);
  });

  test("pages list an account's keys that are not deleted and nobody else's, newest first", async () => {
    const mine = [await insert(), await insert(), await insert()];
    await insert({ deleted: DELETED });
    await insert({ accountId: await anAccount() });
    const pages = await allPages<ApiKey>((before) => store.list(accountId, { limit: 2, ...before }));
    expect(pages).toEqual([[mine[2], mine[1]], [mine[0]]]);
  });

  test("a walk over all keys sees every account's, deleted ones too, once and in the order of their ids", async () => {
    const keys = [await insert(), await insert({ deleted: DELETED }), await insert()];
    keys.push(await insert({ accountId: await anAccount() }));
    const walked: ApiKey[] = [];
    let page: readonly ApiKey[];
    do {
      page = await store.listAll({ limit: 2, after: walked.at(-1)?.id });
      walked.push(...page);
    } while (page.length === 2);
    const ids = walked.map(({ id }) => id);
    expect(ids).toEqual([...new Set(ids)].sort());
    for (const key of keys) expect(walked).toContainEqual(key);
  });

  test("the count follows inserts, deletions and restorations, of one account only", async () => {
    const other = await anAccount();
    expect(await countApiKeys(store, accountId)).toBe(0);
    const key = await insert();
    await insert();
    await insert({ deleted: DELETED });
    await insert({ accountId: other });
    expect(await countApiKeys(store, accountId)).toBe(2);
    const deleted = await replaceApiKey(fixture, { ...key, deleted: DELETED }, key);
    expect(await countApiKeys(store, accountId)).toBe(1);
    const renamed = await replaceApiKey(fixture, { ...deleted, name: "Still deleted" }, deleted);
    expect(await countApiKeys(store, accountId)).toBe(1);
    await replaceApiKey(fixture, key, renamed);
    expect(await countApiKeys(store, accountId)).toBe(2);
    expect(await countApiKeys(store, other)).toBe(1);
    expect(await countApiKeys(store, randomUUID())).toBe(0);
  });

  test("of several changes to one revision exactly one is written", async () => {
    const key = await insert();
    const changes = ["a", "b", "c", "d"].map((name) => ({ ...key, name }));
    const written = await Promise.allSettled(changes.map((change) => replaceApiKey(fixture, change, key)));
    const winners = written.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
    expect(winners).toHaveLength(1);
    expect(await store.read(key.id)).toEqual(winners[0]);
  });

  test("neither a stale revision nor a key that is not there is written", async () => {
    const key = await insert({ revision: 7 });
    for (const former of [{ ...key, revision: 6 }, newApiKey(accountId)]) {
      await expect(replaceApiKey(fixture, { ...former, name: "Stale" }, former)).rejects.toMatchObject({
        cause: expect.any(ConcurrentChangeError),
      });
    }
    expect(await store.read(key.id)).toEqual(key);
  });

  test("a replacement leaves the time of the last use alone", async () => {
    const lastUsed = new Date("2026-05-01T00:00:00.001Z");
    const key = await insert({ lastUsed });
    const cleared = await replaceApiKey(fixture, { ...key, lastUsed: undefined }, key);
    await replaceApiKey(fixture, { ...cleared, lastUsed: DELETED }, cleared);
    expect(await store.read(key.id)).toEqual({ ...key, revision: 3 });
  });

  /** As the newest of its account. */
  const listed = async ({ id }: ApiKey) =>
    (await store.list(accountId, { limit: 1 })).items.find((item) => item.id === id);

  async function insert(changes: Partial<ApiKey> = {}): Promise<ApiKey> {
    const key = newApiKey(accountId, changes);
    await insertApiKey(fixture, key);
    return key;
  }

  async function anAccount(): Promise<string> {
    const account = newAccount();
    await insertAccount(fixture, account);
    return account.id;
  }
}
