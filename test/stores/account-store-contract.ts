import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { Account, ServiceToken } from "../../src/domain/accounts/account.js";
import type { Page } from "../../src/domain/page.js";
import { DuplicateError } from "../../src/domain/store.js";
import { newAccount, type StoreFixture } from "./store-fixture.js";

/** What every implementation of AccountStore and ServiceTokenStore guarantees. */
export function describeAccountStores(open: () => Promise<StoreFixture>): void {
  let fixture: StoreFixture;
  beforeAll(async () => {
    fixture = await open();
  });
  afterAll(() => fixture?.[Symbol.asyncDispose]());
  beforeEach(() => fixture.clear());

  test("an account is found by id and by name as it was inserted", async () => {
    const account = newAccount({ name: "Ünïcode 'quoted' \\ 🗺" });
    await fixture.accounts.insert(account);
    expect(await fixture.accounts.read(account.id)).toEqual(account);
    expect(await fixture.accounts.readByName(account.name)).toEqual(account);
    expect(await fixture.accounts.read(randomUUID())).toBeUndefined();
    expect(await fixture.accounts.readByName("nobody")).toBeUndefined();
  });

  test("a taken id and a taken name are refused by name of the field", async () => {
    const account = newAccount();
    await fixture.accounts.insert(account);
    await expect(fixture.accounts.insert(newAccount({ id: account.id }))).rejects.toEqual(
      new DuplicateError("id"),
    );
    await expect(fixture.accounts.insert(newAccount({ name: account.name }))).rejects.toEqual(
      new DuplicateError("name"),
    );
  });

  test("the only account is found while there is exactly one", async () => {
    expect(await fixture.accounts.readSole()).toBeUndefined();
    const only = newAccount();
    await fixture.accounts.insert(only);
    expect(await fixture.accounts.readSole()).toEqual(only);
    await fixture.accounts.insert(newAccount());
    expect(await fixture.accounts.readSole()).toBeUndefined();
  });

  test("pages list every account once, newest first", async () => {
    const accounts = [newAccount(), newAccount(), newAccount(), newAccount(), newAccount()];
    for (const account of accounts) await fixture.accounts.insert(account);
    const pages = await allPages<Account>((before) => fixture.accounts.list({ limit: 2, ...before }));
    expect(pages.map((page) => page.length)).toEqual([2, 2, 1]);
    expect(pages.flat()).toEqual(accounts.reverse());
  });

  test("a page that is exactly full is the last one when nothing follows", async () => {
    await fixture.accounts.insert(newAccount());
    await fixture.accounts.insert(newAccount());
    const page = await fixture.accounts.list({ limit: 2 });
    expect(page.items).toHaveLength(2);
    expect(page.next).toBeUndefined();
  });

  test("a service token is found by id and by the hash of its secret as it was inserted", async () => {
    const account = await insertAccount();
    const plain = newServiceToken(account.id, 1);
    const full = newServiceToken(account.id, 2, {
      expireTime: new Date("2027-01-01T00:00:00.001Z"),
      revoked: new Date("2026-06-01T00:00:00.999Z"),
    });
    for (const token of [plain, full]) {
      await fixture.serviceTokens.insert(token);
      expect(await fixture.serviceTokens.read(token.id)).toEqual(token);
      expect(await fixture.serviceTokens.readBySecretHash(token.secretHash)).toEqual(token);
    }
    expect(await fixture.serviceTokens.read(randomUUID())).toBeUndefined();
    expect(await fixture.serviceTokens.readBySecretHash(new Uint8Array(32))).toBeUndefined();
  });

  test("two service tokens can't share a secret", async () => {
    const account = await insertAccount();
    await fixture.serviceTokens.insert(newServiceToken(account.id, 1));
    await expect(fixture.serviceTokens.insert(newServiceToken(account.id, 1))).rejects.toEqual(
      new DuplicateError("secret_hash"),
    );
  });

  test("pages list an account's service tokens and nobody else's, newest first", async () => {
    const [mine, other] = [await insertAccount(), await insertAccount()];
    const tokens = [1, 2, 3].map((secret) => newServiceToken(mine.id, secret));
    for (const token of tokens) await fixture.serviceTokens.insert(token);
    await fixture.serviceTokens.insert(newServiceToken(other.id, 4));
    const pages = await allPages<ServiceToken>((before) =>
      fixture.serviceTokens.list(mine.id, { limit: 2, ...before }),
    );
    expect(pages.flat()).toEqual(tokens.reverse());
  });

  test("a revocation keeps its first time", async () => {
    const account = await insertAccount();
    const token = newServiceToken(account.id, 1);
    await fixture.serviceTokens.insert(token);
    const first = new Date("2026-05-01T00:00:00Z");
    expect(await fixture.serviceTokens.revoke(token.id, first)).toEqual({ ...token, revoked: first });
    expect(await fixture.serviceTokens.revoke(token.id, new Date("2026-06-01T00:00:00Z"))).toEqual({
      ...token,
      revoked: first,
    });
    expect(await fixture.serviceTokens.revoke(randomUUID(), first)).toBeUndefined();
  });

  async function insertAccount(): Promise<Account> {
    const account = newAccount();
    await fixture.accounts.insert(account);
    return account;
  }
}

/** Every page of a listing, by walking it. */
export async function allPages<T>(
  read: (before: { before?: bigint }) => Promise<Page<T>>,
): Promise<readonly (readonly T[])[]> {
  const pages: (readonly T[])[] = [];
  let page = await read({});
  pages.push(page.items);
  while (page.next !== undefined) {
    page = await read({ before: page.next });
    pages.push(page.items);
  }
  return pages;
}

function newServiceToken(
  accountId: string,
  secret: number,
  changes: Partial<ServiceToken> = {},
): ServiceToken {
  return {
    id: randomUUID(),
    accountId,
    name: "",
    secretHash: new Uint8Array(32).fill(secret),
    created: new Date("2026-03-01T12:00:00.123Z"),
    ...changes,
  };
}
