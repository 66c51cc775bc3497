import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { ApiKeyRefusal } from "../../src/gen/proto/tilegate/v1/api_key_pb.js";
import { ApiKeyService } from "../../src/gen/proto/tilegate/v1/api_key_service_pb.js";
import { aVectorDataset, ENCRYPTION_KEY, startTestApp, type TestApp } from "../harness/app.js";
import { eventually } from "../harness/eventually.js";
import { createTestDatabase, postgresUrl, type TestDatabase } from "../harness/postgres.js";
import { redisUrl } from "../harness/redis.js";
import { createAccount, type TestAccount } from "./accounts.js";

/** A gateway may ask for every tile, and names the dataset. */
describe.skipIf(!postgresUrl() || !redisUrl())("VerifyApiKey with a dataset", () => {
  let database: TestDatabase;
  let here: TestApp;
  let there: TestApp;
  let account: TestAccount;
  let token: string;
  let opened: string;
  let foreign: string;

  beforeAll(async () => {
    database = await createTestDatabase();
    const env = { DATABASE_URL: database.url, REDIS_URL: redisUrl() ?? "", ENCRYPTION_KEYS: ENCRYPTION_KEY };
    here = await startTestApp(env);
    there = await startTestApp(env);
    account = await createAccount(here);
    const stranger = await createAccount(here);
    const create = async (accountId: string) => {
      const tableName = `t${randomUUID().replaceAll("-", "")}`;
      const input = { ...aVectorDataset, visibility: "private", accountId, tableName } as const;
      return (await here.useCases.datasets.create(OPERATOR, input)).id;
    };
    opened = await create(account.id);
    foreign = await create(stranger.id);
    ({ token } = await here.useCases.apiKeys.create(OPERATOR, { datasetIds: [opened] }, account.id));
  });
  afterAll(async () => {
    for (const resource of [here, there, database]) await resource?.[Symbol.asyncDispose]();
  });

  const verify = async (app: TestApp, datasetId: string) => {
    const client = app.client(ApiKeyService, account.backend);
    const { valid, refusal } = await client.verifyApiKey({ token, datasetId });
    return valid ? "VALID" : ApiKeyRefusal[refusal];
  };

  test.each([
    ["opened by the key", () => opened, "VALID"],
    ["another account's", () => foreign, "DATASET"],
    ["nobody's", randomUUID, "DATASET"],
  ] as const)("asks the database nothing once one that is %s is warm", async (_, idOf, expected) => {
    const id = idOf();
    expect(await verify(here, id)).toBe(expected);
    const before = await database.statementCount();
    for (let call = 0; call < 10; call += 1) expect(await verify(here, id)).toBe(expected);
    expect((await database.statementCount()) - before).toBe(0);
  });

  test("refuses a dataset that another replica has just deleted", async () => {
    expect(await verify(here, opened)).toBe("VALID");
    await there.useCases.datasets.delete(OPERATOR, opened);
    await eventually(async () => (await verify(here, opened)) === "DATASET");
  });
});
