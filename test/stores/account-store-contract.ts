import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { Account, ServiceToken } from "../../src/domain/accounts/account.js";
import type { Page } from "../../src/domain/page.js";
import { DuplicateError } from "../../src/domain/store.js";
import {
  insertAccount,
  insertServiceToken,
  newAccount,
  revokeServiceToken,
  type StoreFixture,
} from "./store-fixture.js";

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
    await insertAccount(fixture, account);
    expect(await fixture.accounts.read(account.id)).toEqual(account);
    expect(await fixture.accounts.readByName(account.name)).toEqual(account);
    expect(await fixture.accounts.read(randomUUID())).toBeUndefined();
    expect(await fixture.accounts.readByName("nobody")).toBeUndefined();
  });

  test("a taken id and a taken name are refused by name of the field", async () => {
    const account = newAccount();
    await insertAccount(fixture, account);
    await expect(insertAccount(fixture, newAccount({ id: account.id }))).rejects.toMatchObject({
      cause: new DuplicateError("id"),
    });
    await expect(insertAccount(fixture, newAccount({ name: account.name }))).rejects.toMatchObject({
      cause: new DuplicateError("name"),
    });
  });

  test("the only account is found while there is exactly one", async () => {
    expect(await fixture.accounts.readSole()).toBeUndefined();
    const only = newAccount();
    await insertAccount(fixture, only);
    expect(await fixture.accounts.readSole()).toEqual(only);
    await insertAccount(fixture, newAccount());
    expect(await fixture.accounts.readSole()).toBeUndefined();
  });

  test("pages list every account once, newest first", async () => {
    const accounts = [newAccount(), newAccount(), newAccount(), newAccount(), newAccount()];
    for (const account of accounts) await insertAccount(fixture, account);
    const pages = await allPages<Account>((before) => fixture.accounts.list({ limit: 2, ...before }));
    expect(pages.map((page) => page.length)).toEqual([2, 2, 1]);
    expect(pages.flat()).toEqual(accounts.reverse());
  });

  test("a page that is exactly full is the last one when nothing follows", async () => {
    await insertAccount(fixture, newAccount());
    await insertAccount(fixture, newAccount());
    const page = await fixture.accounts.list({ limit: 2 });
    expect(page.items).toHaveLength(2);
    expect(page.next).toBeUndefined();
  });

  test("a service token is found by id and by the hash of its secret as it was inserted", async () => {
    const account = await anAccount();
    const plain = newServiceToken(account.id, 1);
    const full = newServiceToken(account.id, 2, {
      expireTime: new Date("2027-01-01T00:00:00.001Z"),
      revoked: new Date("2026-06-01T00:00:00.999Z"),
    });
    for (const token of [plain, full]) {
      await insertServiceToken(fixture, token);
      expect(await fixture.serviceTokens.read(token.id)).toEqual(token);
      expect(await fixture.serviceTokens.readBySecretHash(token.secretHash)).toEqual(token);
    }
    expect(await fixture.serviceTokens.read(randomUUID())).toBeUndefined();
    expect(await fixture.serviceTokens.readBySecretHash(new Uint8Array(32))).toBeUndefined();
  });

  test("two service tokens can't share a secret", async () => {
    const account = await anAccount();
    await insertServiceToken(fixture, newServiceToken(account.id, 1));
    await expect(insertServiceToken(fixture, newServiceToken(account.id, 1))).rejects.toMatchObject({
      cause: new DuplicateError("secret_hash"),
    });
  });

  test("pages list an account's service tokens and nobody else's, newest first", async () => {
    const [mine, other] = [await anAccount(), await anAccount()];
    const tokens = [1, 2, 3].map((secret) => newServiceToken(mine.id, secret));
    for (const token of tokens) await insertServiceToken(fixture, token);
    await insertServiceToken(fixture, newServiceToken(other.id, 4));
    const pages = await allPages<ServiceToken>((before) =>
      fixture.serviceTokens.list(mine.id, { limit: 2, ...before }),
    );
    expect(pages.flat()).toEqual(tokens.reverse());
  });

  test("a revocation keeps its first time", async () => {
    const account = await anAccount();
    const token = newServiceToken(account.id, 1);
    await insertServiceToken(fixture, token);
    const first = new Date("2026-05-01T00:00:00Z");
    expect(await revokeServiceToken(fixture, token.id, first)).toEqual({ ...token, revoked: first });
    expect(await revokeServiceToken(fixture, token.id, new Date("2026-06-01T00:00:00Z"))).toEqual({
      ...token,
      revoked: first,
    });
    expect(await revokeServiceToken(fixture, randomUUID(), first)).toBeUndefined();
  });

  async function anAccount(): Promise<Account> {
    const account = newAccount();
    await insertAccount(fixture, account);
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
