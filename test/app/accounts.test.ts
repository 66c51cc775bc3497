import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type Client, Code } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import { AccountService } from "../../src/gen/proto/tilegate/v1/account_service_pb.js";
import { NOW, operator, startEmbeddedTestApp, type TestApp } from "../harness/app.js";

let app: TestApp;
let accounts: Client<typeof AccountService>;
beforeAll(async () => {
  app = await startEmbeddedTestApp();
  accounts = app.client(AccountService, operator);
});
afterAll(() => app[Symbol.asyncDispose]());

async function createAccount(name: string): Promise<string> {
  const { account } = await accounts.createAccount({ name });
  return account?.id ?? "";
}

test("an account keeps the id and the name that it was given, and nobody else gets them", async () => {
  const id = "ACC0ACC0-0000-4000-8000-0000000000AA";
  const { account } = await accounts.createAccount({ id, name: "Ärzte & Söhne" });
  expect(account).toMatchObject({
    id: id.toLowerCase(),
    name: "Ärzte & Söhne",
    createTime: timestampFromDate(NOW),
  });
  expect((await accounts.getAccount({ id })).account).toEqual(account);
  await expect(accounts.createAccount({ id, name: "another" })).rejects.toMatchObject({
    code: Code.AlreadyExists,
  });
  await expect(accounts.createAccount({ name: "Ärzte & Söhne" })).rejects.toMatchObject({
    code: Code.AlreadyExists,
    rawMessage: expect.stringContaining("name"),
  });
});

test("accounts are listed newest first, over pages", async () => {
  const ids: string[] = [];
  for (let i = 0; i < 12; i += 1) ids.unshift(await createAccount(`listed ${i}`));
  const first = await accounts.listAccounts({ limit: 10 });
  expect(first.accounts.map(({ id }) => id)).toEqual(ids.slice(0, 10));
  const second = await accounts.listAccounts({ limit: 10, cursor: first.cursor });
  expect(second.accounts.slice(0, 2).map(({ id }) => id)).toEqual(ids.slice(10));
});

test("a service token's secret is shown once: no later answer and no listing has it", async () => {
  const accountId = await createAccount("secretive");
  const created = await accounts.createServiceToken({ accountId, name: "backend" });
  expect(created.token).toMatch(/^tgs_[0-9A-Za-z]{33}$/);
  const listed = await accounts.listServiceTokens({ accountId });
  expect(listed.serviceTokens).toEqual([created.serviceToken]);
  const revoked = await accounts.revokeServiceToken({ id: created.serviceToken?.id });
  expect(JSON.stringify([listed, revoked], (_, v) => (typeof v === "bigint" ? `${v}` : v))).not.toContain(
    created.token.slice(4),
  );
});

test("revoking again keeps the time of the first revocation", async () => {
  const accountId = await createAccount("revoking");
  const { serviceToken } = await accounts.createServiceToken({ accountId });
  const id = serviceToken?.id;
  const first = await accounts.revokeServiceToken({ id });
  app.now = new Date(NOW.getTime() + 60_000);
  expect(await accounts.revokeServiceToken({ id })).toEqual(first);
  app.now = NOW;
  expect(first.serviceToken?.revokeTime).toEqual(timestampFromDate(NOW));
  const { serviceTokens } = await accounts.listServiceTokens({ accountId });
  expect(serviceTokens).toEqual([first.serviceToken]);
});

test("a service token that is to expire tells when", async () => {
  const accountId = await createAccount("expiring");
  const expireTime = timestampFromDate(new Date(NOW.getTime() + 86_400_000));
  const { serviceToken } = await accounts.createServiceToken({ accountId, expireTime });
  expect(serviceToken).toMatchObject({ accountId, expireTime });
});

test("what is another account's, or nobody's, is not found", async () => {
  const nobody = "acc0acc0-0000-4000-8000-00000000ffff";
  for (const call of [
    () => accounts.getAccount({ id: nobody }),
    () => accounts.createServiceToken({ accountId: nobody }),
    () => accounts.listServiceTokens({ accountId: nobody }),
    () => accounts.revokeServiceToken({ id: nobody }),
  ]) {
    await expect(call()).rejects.toMatchObject({ code: Code.NotFound });
  }
});
