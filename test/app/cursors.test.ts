import { afterAll, beforeAll, expect, test } from "vitest";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { AccountService } from "../../src/gen/proto/tilegate/v1/account_service_pb.js";
import { ApiKeyService } from "../../src/gen/proto/tilegate/v1/api_key_service_pb.js";
import { DatasetService } from "../../src/gen/proto/tilegate/v1/dataset_service_pb.js";
import { aVectorDataset, type Headers, operator, startTestApp, type TestApp } from "../harness/app.js";
import { createAccount, type TestAccount } from "./accounts.js";
import { badFields, refused } from "./refusals.js";

/** The least that a page may hold. */
const LIMIT = 10;

let app: TestApp;
let account: TestAccount;
let stranger: TestAccount;
beforeAll(async () => {
  app = await startTestApp();
  [account, stranger] = [await createAccount(app), await createAccount(app)];
  const { apiKeys, accounts, datasets } = app.useCases;
  for (let made = 0; made <= LIMIT; made++) {
    await accounts.create(OPERATOR, { name: `filling ${made}` });
    for (const { id: accountId } of [account, stranger]) {
      await apiKeys.create(OPERATOR, {}, accountId);
      await accounts.createServiceToken(OPERATOR, { accountId, name: "" });
      const tableName = `t_${accountId.replaceAll("-", "")}_${made}`;
      await datasets.create(OPERATOR, { ...aVectorDataset, accountId, tableName });
    }
  }
});
afterAll(() => app[Symbol.asyncDispose]());

interface Page {
  readonly cursor: string;
}

/** Lists `accountId`'s, as the operator unless other headers are given. */
type List = (accountId: string, cursor: string, headers?: Headers) => Promise<Page>;

const LISTS = {
  ListAccounts: (_, cursor) => app.client(AccountService, operator).listAccounts({ limit: LIMIT, cursor }),
  ListServiceTokens: (accountId, cursor) =>
    app.client(AccountService, operator).listServiceTokens({ accountId, limit: LIMIT, cursor }),
  ListDatasets: (accountId, cursor, headers = operator) =>
    app.client(DatasetService, headers).listDatasets({ accountId, limit: LIMIT, cursor }),
  "ListDatasets of all accounts": (_, cursor) =>
    app.client(DatasetService, operator).listDatasets({ limit: LIMIT, cursor }),
  ListApiKeys: (accountId, cursor, headers = operator) =>
    app.client(ApiKeyService, headers).listApiKeys({ accountId, limit: LIMIT, cursor }),
} satisfies Record<string, List>;
const { ListServiceTokens, ListDatasets, ListApiKeys } = LISTS;

async function firstCursor(list: List, accountId: string, headers?: Headers): Promise<string> {
  const { cursor } = await list(accountId, "", headers);
  expect(cursor).toMatch(/^[A-Za-z0-9+/]{48}$/);
  return cursor;
}

async function expectRefused(call: Promise<unknown>): Promise<void> {
  expect(await badFields(call)).toEqual(["cursor"]);
  expect((await refused(call)).message).toContain("is malformed");
}

test.each(Object.entries<List>(LISTS))(
  "a cursor of %s leads on in that list and in no other",
  async (name, own) => {
    const cursor = await firstCursor(own, account.id);
    await own(account.id, cursor);
    const others = Object.entries<List>(LISTS).filter(([other]) => other !== name);
    for (const [, list] of others) await expectRefused(list(account.id, cursor));
  },
);

test.each<[string, List]>(Object.entries({ ListServiceTokens, ListDatasets, ListApiKeys }))(
  "a cursor of one account's %s leads nobody on in another account's",
  async (_, list) => {
    await expectRefused(list(stranger.id, await firstCursor(list, account.id)));
  },
);

test("spying: a service token gets no answer to a cursor of another account, be it named or implied", async () => {
  for (const list of [ListDatasets, ListApiKeys]) {
    const cursor = await firstCursor(list, account.id, account.backend);
    await expectRefused(list("", cursor, stranger.backend));
    await expectRefused(list(stranger.id, cursor, stranger.backend));
  }
});

test("a cursor works on, whoever goes on with it and however the account is named", async () => {
  for (const list of [ListDatasets, ListApiKeys]) {
    const cursor = await firstCursor(list, "", account.backend);
    for (const [accountId, headers] of [
      ["", account.backend],
      [account.id.toUpperCase(), account.backend],
      [account.id, operator],
    ] as const) {
      expect((await list(accountId, cursor, headers)).cursor).toBe("");
    }
  }
});

test("a cursor of GET /v1/api_keys is one of ListApiKeys too, and no other list's", async () => {
  const get = async (cursor: string) => {
    const query = new URLSearchParams({ limit: String(LIMIT), cursor });
    const response = await app.fetch(`/v1/api_keys?${query}`, { headers: account.backend });
    return { status: response.status, json: (await response.json()) as { items?: unknown[] } };
  };
  const listed = await get(await firstCursor(ListApiKeys, account.id));
  expect(listed).toMatchObject({ status: 200, json: { items: [expect.anything()] } });
  expect((await get(await firstCursor(ListDatasets, account.id))).status).toBe(422);
});

test("a stranger who sends a malformed cursor is told who may list, not what is wrong with it", async () => {
  await expect(app.client(ApiKeyService).listApiKeys({ cursor: "x" })).rejects.toThrow("unauthenticated");
});
