import { randomBytes, randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createAccounts } from "../../src/domain/accounts/accounts.js";
import { createApiKeys } from "../../src/domain/api-keys/api-keys.js";
import { reencryptApiKeys } from "../../src/domain/api-keys/reencryption.js";
import { createVault } from "../../src/domain/api-keys/vault.js";
import { systemClock as clock } from "../../src/domain/clock.js";
import { createDatasets } from "../../src/domain/datasets/datasets.js";
import type { Caller } from "../../src/domain/identity/principal.js";
import { createCursors } from "../../src/front/cursors.js";
import { postgresUrl } from "../harness/postgres.js";
import {
  countApiKeys,
  openEmbeddedFixture,
  openPostgresFixture,
  type StoreFixture,
} from "./store-fixture.js";

const OPERATOR: Caller = [{ type: "operator" }];
const aDataset = {
  kind: "vector",
  title: "",
  visibility: "public",
  status: "published",
  readerRoles: [],
  readerSubjects: [],
} as const;

const fixtures: [string, boolean, () => Promise<StoreFixture>][] = [
  ["the embedded database", true, openEmbeddedFixture],
  ["PostgreSQL", postgresUrl() !== undefined, openPostgresFixture],
];

describe.each(fixtures.filter(([, isThere]) => isThere))("changes over %s", (_, __, open) => {
  let fixture: StoreFixture;
  beforeAll(async () => {
    fixture = await open();
  });
  afterAll(() => fixture[Symbol.asyncDispose]());

  function useCases(encryptionKeys = [randomBytes(32)]) {
    const { unitOfWork, accounts, serviceTokens, datasets, apiKeys } = fixture;
    const common = { unitOfWork, cursors: createCursors(encryptionKeys), clock };
    const vault = createVault(encryptionKeys);
    return {
      accounts: createAccounts({ ...common, accounts, serviceTokens }),
      datasets: createDatasets({ ...common, store: datasets, tenancy: "single", revocationAt: () => 0 }),
      apiKeys: createApiKeys({ ...common, store: apiKeys, vault }),
      reencrypt: () => reencryptApiKeys({ unitOfWork, store: apiKeys, vault }),
    };
  }

  // A change that asked the database outside of its transaction would wait for itself on a single connection.
  test("of every kind, many at once, wait for each other and never for themselves", async () => {
    const encryptionKey = randomBytes(32);
    const { accounts, datasets, apiKeys } = useCases([encryptionKey]);
    const { reencrypt } = useCases([randomBytes(32), encryptionKey]);

    async function everyChange(): Promise<void> {
      const { id: accountId } = await accounts.create(OPERATOR, { name: `account ${randomUUID()}` });
      const { serviceToken } = await accounts.createServiceToken(OPERATOR, { accountId, name: "" });
      const caller: Caller = [{ type: "service", accountId, serviceTokenId: serviceToken.id }];
      const tableName = `t${randomUUID()}`;
      const { id } = await datasets.create(OPERATOR, { ...aDataset, accountId, id: randomUUID(), tableName });
      await datasets.update(caller, id, { title: "New" });
      await datasets.upsert(caller, accountId, [{ ...aDataset, tableName }]);
      const { key } = await apiKeys.create(caller, { datasetIds: [id] });
      await apiKeys.update(caller, key.id, { datasetIds: [id], name: "New" });
      await apiKeys.rotate(caller, key.id);
      await apiKeys.delete(caller, key.id);
      await apiKeys.undelete(caller, key.id);
      await reencrypt();
      await datasets.delete(caller, id);
      await accounts.revokeServiceToken(OPERATOR, serviceToken.id);
      const { key: written } = await apiKeys.get(caller, key.id);
      expect([written.name, written.deleted]).toEqual(["New", undefined]);
      expect((await accounts.listServiceTokens(OPERATOR, { limit: 10 }, accountId)).items).toMatchObject([
        { revoked: expect.any(Date) },
      ]);
    }
    await Promise.all(Array.from({ length: 4 }, everyChange));
  });

  test("of one key or dataset by several writers at once are all made, one after the other", async () => {
    const { accounts, datasets, apiKeys } = useCases();
    const { id: accountId } = await accounts.create(OPERATOR, { name: `account ${randomUUID()}` });
    const { key } = await apiKeys.create(OPERATOR, {}, accountId);
    const dataset = await datasets.create(OPERATOR, { ...aDataset, accountId, tableName: randomUUID() });
    const writers = Array.from({ length: 6 }, (_, writer) => [
      apiKeys.update(OPERATOR, key.id, { description: `writer ${writer}` }),
      datasets.update(OPERATOR, dataset.id, { title: `writer ${writer}` }),
    ]);
    await Promise.all(writers.flat());
    expect((await apiKeys.get(OPERATOR, key.id)).key.revision).toBe(7);
    expect((await datasets.get(OPERATOR, dataset.id)).revision).toBe(7);
  });

  test("with an etag are made once: whoever read the same state and comes second is told", async () => {
    const { accounts, datasets, apiKeys } = useCases();
    const { id: accountId } = await accounts.create(OPERATOR, { name: `account ${randomUUID()}` });
    const created = await apiKeys.create(OPERATOR, {}, accountId);
    const dataset = await datasets.create(OPERATOR, { ...aDataset, accountId, tableName: randomUUID() });
    expect(created.etag).toBe(dataset.etag);
    for (const change of [
      () => apiKeys.update(OPERATOR, created.key.id, { name: "New" }, created.etag),
      () => datasets.update(OPERATOR, dataset.id, { title: "New" }, dataset.etag),
    ]) {
      const outcomes = await Promise.allSettled([change(), change()]);
      expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
      await expect(change()).rejects.toMatchObject({ kind: "aborted", reason: "STALE_ETAG", field: "etag" });
    }
  });

  test("by nobody are refused by a rejection, as everything is", async () => {
    const { datasets, apiKeys } = useCases();
    for (const change of [
      () => datasets.update([], randomUUID(), {}),
      () => datasets.delete([], randomUUID()),
      () => apiKeys.update([], randomUUID(), {}),
      () => apiKeys.rotate([], randomUUID()),
    ]) {
      const refused = change();
      await expect(refused).rejects.toMatchObject({ kind: "unauthenticated" });
    }
  });

  test("that fail in the middle leave nothing, in whatever store", async () => {
    const { accounts } = useCases();
    const nobody = randomUUID();
    const { apiKeys, datasets } = useCases();
    for (const change of [
      () => apiKeys.create(OPERATOR, {}, nobody),
      () => datasets.create(OPERATOR, { ...aDataset, accountId: nobody, tableName: randomUUID() }),
      () => accounts.createServiceToken(OPERATOR, { accountId: nobody, name: "" }),
    ]) {
      await expect(change()).rejects.toMatchObject({ kind: "not_found", message: "account not found" });
    }
    expect(await countApiKeys(fixture.apiKeys, nobody)).toBe(0);
  });
});
