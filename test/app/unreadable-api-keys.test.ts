import type { Client } from "@connectrpc/connect";
import pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { IssuedApiKey } from "../../src/domain/api-keys/api-keys.js";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { ApiKeyService } from "../../src/gen/proto/tilegate/v1/api_key_service_pb.js";
import { aVectorDataset, startTestApp, type TestApp } from "../harness/app.js";
import { createTestDatabase, postgresUrl, type TestDatabase } from "../harness/postgres.js";
import { createAccount, type TestAccount } from "./accounts.js";
import { DOORS } from "./key-doors.js";

describe.skipIf(!postgresUrl())("an API key whose row was damaged", () => {
  let database: TestDatabase;
  let sql: pg.Client;
  let app: TestApp;
  let account: TestAccount;
  let datasetId: string;
  let client: Client<typeof ApiKeyService>;
  let neighbour: IssuedApiKey;
  let broken: IssuedApiKey;

  beforeAll(async () => {
    database = await createTestDatabase();
    sql = new pg.Client({ connectionString: database.url });
    await sql.connect();
    app = await startTestApp({
      DATABASE_URL: database.url,
      ENCRYPTION_KEYS: Buffer.alloc(32, 7).toString("base64"),
    });
  });
  afterAll(async () => {
    await app?.[Symbol.asyncDispose]();
    await sql?.end();
    await database?.[Symbol.asyncDispose]();
  });

  beforeEach(async () => {
    account = await createAccount(app);
    client = app.client(ApiKeyService, account.backend);
    const { apiKeys, datasets } = app.useCases;
    const tableName = `of_${account.id.replaceAll("-", "_")}`;
    const dataset = { ...aVectorDataset, visibility: "private", accountId: account.id, tableName } as const;
    datasetId = (await datasets.create(OPERATOR, dataset)).id;
    neighbour = await apiKeys.create(OPERATOR, { name: "neighbour" }, account.id);
    broken = await apiKeys.create(OPERATOR, { name: "broken", datasetIds: [datasetId] }, account.id);
    await sql.query(
      `UPDATE api_keys SET current_ciphertext = set_byte(current_ciphertext, 30, get_byte(current_ciphertext, 30) # 1)
       WHERE id = $1`,
      [broken.key.id],
    );
  });

  async function rest(path: string, method = "GET", body?: string) {
    const response = await app.fetch(path, { method, headers: account.backend, ...(body && { body }) });
    return { status: response.status, json: (await response.json()) as Record<string, unknown> };
  }

  test("is got, listed and changed over RPC, without its token and marked so, beside its whole neighbours", async () => {
    const marked = { id: broken.key.id, token: "", tokenUnreadable: true };
    const { apiKeys, totalCount } = await client.listApiKeys({});
    expect(apiKeys).toMatchObject([marked, { token: neighbour.token, tokenUnreadable: false }]);
    expect(totalCount).toBe(2);
    const { id } = broken.key;
    expect((await client.getApiKey({ id })).apiKey).toMatchObject(marked);
    const change = { apiKey: { id, description: "why" }, updateMask: { paths: ["description"] } };
    expect((await client.updateApiKey(change)).apiKey).toMatchObject({ ...marked, description: "why" });
    expect((await client.deleteApiKey({ id })).apiKey).toMatchObject(marked);
    expect((await client.undeleteApiKey({ id })).apiKey).toMatchObject(marked);
  });

  test("is listed, got, changed and deleted over MapTiler's routes, with a token of null and no field more", async () => {
    const path = `/v1/api_keys/${broken.key.id}`;
    const { status, json } = await rest("/v1/api_keys");
    const items = json.items as Record<string, unknown>[];
    expect(status).toBe(200);
    expect(items.map(({ token }) => token)).toEqual([null, neighbour.token]);
    expect(Object.keys(items[0] ?? {})).toEqual(Object.keys(items[1] ?? {}));
    expect(await rest(path)).toEqual({ status: 200, json: items[0] });
    expect(await rest(`${path}/change_settings`, "POST", JSON.stringify(items[0]))).toMatchObject({
      status: 200,
      json: { token: null },
    });
    expect(await rest(path, "DELETE")).toEqual({ status: 200, json: {} });
    expect((await rest(path)).status).toBe(404);
  });

  test("opens its datasets nevertheless, at every door", async () => {
    for (const [name, door] of Object.entries(DOORS)) {
      expect((await door(app, datasetId, broken.token)).outcome, name).toBe("granted");
    }
    expect(await client.verifyApiKey({ token: broken.token })).toMatchObject({ valid: true });
  });

  test("gets a new token by rotation, without a grace for the old one", async () => {
    const gracePeriod = { seconds: 3600n };
    const { apiKey } = await client.rotateApiKey({ id: broken.key.id, gracePeriod });
    expect(apiKey?.tokenUnreadable).toBe(false);
    expect(apiKey?.previousTokenExpireTime).toBeUndefined();
    expect(await client.verifyApiKey({ token: broken.token })).toMatchObject({ valid: false });
    expect(await client.verifyApiKey({ token: apiKey?.token ?? "" })).toMatchObject({ valid: true });
    expect((await client.listApiKeys({})).apiKeys.map(({ token }) => token)).toEqual([
      apiKey?.token,
      neighbour.token,
    ]);
  });

  test("is warned of in the log once a read, by its id and without a secret", async () => {
    await sql.query("UPDATE api_keys SET current_ciphertext = '' WHERE id = $1", [neighbour.key.id]);
    const before = app.log.length;
    await client.listApiKeys({});
    const warnings = app.log.slice(before).filter((line) => line.includes('"level":40'));
    expect(warnings).toHaveLength(1);
    const [warning] = warnings;
    for (const { key, token } of [broken, neighbour]) {
      expect(warning).toContain(key.id);
      expect(warning).not.toContain(token.slice(4, 12));
    }
  });
});
