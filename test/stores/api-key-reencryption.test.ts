import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { IssuedApiKey } from "../../src/domain/api-keys/api-keys.js";
import { reencryptApiKeys } from "../../src/domain/api-keys/reencryption.js";
import type { UnitOfWork } from "../../src/domain/unit-of-work.js";
import { createPrismaApiKeyStore } from "../../src/stores/prisma/api-key-store.js";
import { createPrismaUnitOfWork } from "../../src/stores/prisma/unit-of-work.js";
import { postgresUrl } from "../harness/postgres.js";
import { type ApiKeyFixture, OPERATOR, openApiKeyFixture } from "./api-key-fixture.js";

const oldKey = randomBytes(32);
const newKey = randomBytes(32);

describe.skipIf(!postgresUrl())("re-encryption", () => {
  let fixture: ApiKeyFixture;
  beforeAll(async () => {
    fixture = await openApiKeyFixture();
  });
  afterAll(() => fixture?.[Symbol.asyncDispose]());
  beforeEach(async () => {
    await fixture.database.prisma.$executeRaw`TRUNCATE accounts CASCADE`;
  });

  const before = () => fixture.useCases([oldKey]);
  const during = () => fixture.useCases([newKey, oldKey]);
  const after = () => fixture.useCases([newKey]);
  const parts = () => ({
    unitOfWork: createPrismaUnitOfWork(fixture.database),
    store: createPrismaApiKeyStore(fixture.database),
    vault: during().vault,
  });

  /** A unit of work that waits for `meanwhile` before it replaces a key. */
  const replacingAfter = (meanwhile: () => Promise<unknown> | undefined): UnitOfWork => ({
    write: (work) =>
      parts().unitOfWork.write((transaction) => {
        const { apiKeys } = transaction;
        const replace: typeof apiKeys.replace = async (...args) => {
          await meanwhile();
          await apiKeys.replace(...args);
        };
        return work({ ...transaction, apiKeys: { ...apiKeys, replace } });
      }),
  });

  const stored = (id: string) => parts().store.read(id);
  const isValid = async (token: string) => (await after().verification.resolve(token, {})).valid;

  test("moves every key of every account, deleted and rotated ones too, so that the old encryption key can go", async () => {
    const plain = await createKeys(3);
    const [rotated] = await createKeys(1);
    const [deleted] = await createKeys(1);
    const { token } = await before().keys.rotate(OPERATOR, rotated.key.id);
    await before().keys.delete(OPERATOR, deleted.key.id);

    expect(await reencryptApiKeys(parts())).toEqual({ scanned: 5, reencrypted: 5, unreadable: 0 });
    for (const each of [...plain.map(({ token }) => token), rotated.token, token]) {
      expect(await isValid(each)).toBe(true);
    }
    expect((await after().keys.undelete(OPERATOR, deleted.key.id)).token).toBe(deleted.token);
    expect(await reencryptApiKeys(parts())).toEqual({ scanned: 5, reencrypted: 0, unreadable: 0 });
  });

  test("changes nothing of a key but its ciphertexts, its hashes and its revision", async () => {
    const [{ key }] = await createKeys(1);
    await reencryptApiKeys(parts());
    const current = { lookupHash: expect.any(Uint8Array), ciphertext: expect.any(Uint8Array) };
    expect(await stored(key.id)).toEqual({
      ...definedOf(key),
      current,
      revision: key.revision + 1,
    });
  });

  test("interrupted in the middle, it goes on where it was when it is run again", async () => {
    const keys = await createKeys(20);
    const { store, vault } = parts();
    const interruption = new AbortController();
    const reason = new Error("interrupted");
    let moved = 0;
    const unitOfWork = replacingAfter(async () => {
      if (++moved === 7) interruption.abort(reason);
    });
    const { signal } = interruption;
    await expect(reencryptApiKeys({ unitOfWork, store, vault, signal })).rejects.toBe(reason);
    for (const { token } of keys) {
      expect((await during().verification.resolve(token, {})).valid).toBe(true);
    }
    expect(await reencryptApiKeys(parts())).toMatchObject({ scanned: 20, reencrypted: 13 });
    for (const { token } of keys) expect(await isValid(token)).toBe(true);
  });

  test("a token that is rotated between reading and writing a key is not lost", async () => {
    const [{ key, token: first }] = await createKeys(1);
    const { store, vault } = parts();
    let rotated: IssuedApiKey | undefined;
    const unitOfWork = replacingAfter(async () => {
      // By a replica that does not have the new encryption key in front yet.
      rotated ??= await fixture.useCases([oldKey, newKey]).keys.rotate(OPERATOR, key.id);
    });
    expect(await reencryptApiKeys({ unitOfWork, store, vault })).toMatchObject({ reencrypted: 1 });
    expect(await isValid(first)).toBe(true);
    expect(await isValid(rotated?.token ?? "")).toBe(true);
  });

  test("while keys are rotated, changed and deleted, no token and no change is lost", async () => {
    const keys = await createKeys(40);
    const { keys: serving } = during();
    const [, ...written] = await Promise.all([
      reencryptApiKeys(parts()),
      ...keys.map(({ key }, index) =>
        index % 2 === 0
          ? serving.rotate(OPERATOR, key.id)
          : serving.update(OPERATOR, key.id, { description: `changed ${index}` }),
      ),
    ]);
    for (const [index, { token, key }] of keys.entries()) {
      expect(await isValid(token)).toBe(true);
      expect(await isValid(written[index]?.token ?? "")).toBe(true);
      expect((await stored(key.id))?.description).toBe(written[index]?.key.description);
    }
  });

  test("a key that nothing opens is named and does not keep the others from moving", async () => {
    const [lost] = await createKeysUnder(randomBytes(32), 1);
    const [moved] = await createKeys(1);
    const errors: string[] = [];
    const onUnreadable = (error: Error) => errors.push(error.message);
    expect(await reencryptApiKeys({ ...parts(), onUnreadable })).toEqual({
      scanned: 2,
      reencrypted: 1,
      unreadable: 1,
    });
    expect(errors).toEqual([expect.stringContaining(lost.key.id)]);
    expect(errors.join()).not.toContain(lost.token.slice(4, 12));
    expect(await isValid(moved.token)).toBe(true);
  });

  test("a damaged token that is under the newest encryption key already is told of too, each time", async () => {
    const [broken] = await createKeysUnder(newKey, 1);
    await fixture.database.prisma.$executeRaw`
      UPDATE api_keys SET current_ciphertext = set_byte(current_ciphertext, 30, get_byte(current_ciphertext, 30) # 1)
      WHERE id = ${broken.key.id}::uuid`;
    const told = { scanned: 1, reencrypted: 0, unreadable: 1 };
    expect(await reencryptApiKeys(parts())).toEqual(told);
    expect(await reencryptApiKeys(parts())).toEqual(told);
    expect((await stored(broken.key.id))?.revision).toBe(broken.key.revision);
  });

  test("a previous token that nothing opens is named, and does not keep the current one from moving", async () => {
    const [{ key, token: previous }] = await createKeys(1);
    const { token } = await before().keys.rotate(OPERATOR, key.id);
    await fixture.database.prisma.$executeRaw`
      UPDATE api_keys SET previous_ciphertext = set_byte(previous_ciphertext, 30, get_byte(previous_ciphertext, 30) # 1)
      WHERE id = ${key.id}::uuid`;
    const errors: string[] = [];
    const onUnreadable = (error: Error) => errors.push(error.message);
    const run = () => reencryptApiKeys({ ...parts(), onUnreadable });
    expect(await run()).toEqual({ scanned: 1, reencrypted: 1, unreadable: 1 });
    expect(errors).toEqual([expect.stringContaining(`previous token of API key ${key.id}`)]);
    expect(await isValid(token)).toBe(true);
    // Known by its hash under the old encryption key, it works while that is in the ring.
    expect(await during().verification.resolve(previous, {})).toMatchObject({ valid: true });
    const revision = (await stored(key.id))?.revision;
    expect(await run()).toEqual({ scanned: 1, reencrypted: 0, unreadable: 1 });
    expect((await stored(key.id))?.revision).toBe(revision);
  });

  test("progress is told after each page, up to the end", async () => {
    const [{ key }] = await createKeys(1);
    await fixture.database.prisma.$executeRaw`
      INSERT INTO api_keys (id, account_id, name, description, user_agent, enabled, current_hash,
        current_ciphertext, created, changed, revision)
      SELECT gen_random_uuid(), account_id, '', '', '', true, decode(md5(n::text), 'hex'), '', created, changed, 1
      FROM api_keys, generate_series(1, 1200) AS n WHERE id = ${key.id}::uuid`;
    const scanned: number[] = [];
    await reencryptApiKeys({ ...parts(), onProgress: (progress) => scanned.push(progress.scanned) });
    expect(scanned).toEqual([500, 1000, 1201]);
  });

  const createKeys = (count: number) => createKeysUnder(oldKey, count);

  async function createKeysUnder(encryptionKey: Uint8Array, count: number) {
    const { keys } = fixture.useCases([encryptionKey]);
    const accountId = await fixture.insertAccount();
    const create = () => keys.create(OPERATOR, {}, accountId);
    const created: [IssuedApiKey, ...IssuedApiKey[]] = [await create()];
    while (created.length < count) created.push(await create());
    return created;
  }
});

const definedOf = (value: object) =>
  Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined));
