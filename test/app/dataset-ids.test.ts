import { randomUUID } from "node:crypto";
import { ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { DatasetKind, DatasetVisibility } from "../../src/gen/proto/tilegate/v1/dataset_pb.js";
import { DatasetService } from "../../src/gen/proto/tilegate/v1/dataset_service_pb.js";
import { aVectorDataset, startTestApp, type TestApp } from "../harness/app.js";
import { createTestDatabase, postgresUrl } from "../harness/postgres.js";
import { refused } from "./refusals.js";

let tables = 0;
const vector = (id: string) => ({
  id,
  kind: DatasetKind.VECTOR,
  tableName: `t${++tables}`,
  visibility: DatasetVisibility.PUBLIC,
});

/** An account, its service token's client, and a dataset of its own. */
async function openAccount(app: TestApp, name: string) {
  const { accounts, datasets } = app.useCases;
  const { id: accountId } = await accounts.create(OPERATOR, { name });
  const { secret } = await accounts.createServiceToken(OPERATOR, { accountId, name: "" });
  const client = app.client(DatasetService, { authorization: `Token ${secret}` });
  const own = await datasets.create(OPERATOR, { ...aVectorDataset, accountId, tableName: `own_${name}` });
  return { accountId, client, own };
}

describe("where there are several accounts, one tries out ids that another may have", () => {
  /** What is refused, and how, but for the id. */
  async function refusalOf(call: Promise<unknown>) {
    const { code, message, details } = ConnectError.from(await refused(call));
    return { code, message, details };
  }

  test("an id that is taken is refused as a free one is", async () => {
    await using app = await startTestApp();
    const [spy, victim] = [await openAccount(app, "spy"), await openAccount(app, "victim")];
    const attempts = [
      (id: string) => spy.client.createDataset({ dataset: vector(id) }),
      (id: string) => spy.client.batchUpsertDatasets({ datasets: [vector(""), vector(id)] }),
    ];
    for (const attempt of attempts) {
      const free = await refusalOf(attempt(randomUUID()));
      expect(free.message).toContain("only the operator may choose ids where there are several accounts");
      expect(await refusalOf(attempt(victim.own.id))).toEqual(free);
      await app.useCases.datasets.delete(OPERATOR, victim.own.id).catch(() => undefined);
      expect(await refusalOf(attempt(victim.own.id))).toEqual(free);
    }
    expect((await spy.client.listDatasets({})).datasets).toHaveLength(1);
  });

  test.skipIf(!postgresUrl())("at the same cost", async () => {
    await using database = await createTestDatabase();
    const ENCRYPTION_KEYS = Buffer.alloc(32, "key").toString("base64");
    await using app = await startTestApp({ DATABASE_URL: database.url, ENCRYPTION_KEYS });
    const [spy, victim] = [await openAccount(app, "spy"), await openAccount(app, "victim")];
    const costs = async (call: () => Promise<unknown>) => {
      const before = await database.statementCount();
      await refused(call());
      return (await database.statementCount()) - before;
    };
    const create = (id: string) => costs(() => spy.client.createDataset({ dataset: vector(id) }));
    const upsert = (id: string) => costs(() => spy.client.batchUpsertDatasets({ datasets: [vector(id)] }));
    for (const attempt of [create, upsert]) {
      await attempt(randomUUID());
      expect(await attempt(victim.own.id)).toBe(await attempt(randomUUID()));
    }
  });

  test("the ids of one's own datasets, deleted ones too, are upserted as ever", async () => {
    await using app = await startTestApp();
    await openAccount(app, "other");
    const { client, own } = await openAccount(app, "own");
    const dataset = { ...vector(own.id), tableName: own.tableName ?? "" };
    expect(await client.batchUpsertDatasets({ datasets: [dataset] })).toMatchObject({ updatedCount: 1 });
    await client.deleteDataset({ id: own.id });
    expect(await client.batchUpsertDatasets({ datasets: [dataset] })).toMatchObject({ createdCount: 1 });
  });

  test("the operator chooses", async () => {
    await using app = await startTestApp();
    await openAccount(app, "other");
    const { accountId } = await openAccount(app, "own");
    const ids = [randomUUID(), randomUUID()];
    const [first, second] = ids.map((id) => ({ ...aVectorDataset, id, tableName: `t${++tables}` }));
    if (first === undefined || second === undefined) throw new Error("two ids");
    expect((await app.useCases.datasets.create(OPERATOR, { ...first, accountId })).id).toBe(ids[0]);
    expect((await app.useCases.datasets.upsert(OPERATOR, accountId, [second])).ids).toEqual([ids[1]]);
  });
});

test("where there is one account, its managers choose ids", async () => {
  await using app = await startTestApp();
  const { client, own } = await openAccount(app, "only");
  const [created, upserted] = [randomUUID(), randomUUID()];
  expect((await client.createDataset({ dataset: vector(created) })).dataset?.id).toBe(created);
  expect((await client.batchUpsertDatasets({ datasets: [vector(upserted)] })).ids).toEqual([upserted]);
  // There is nobody to hide it from.
  expect((await refused(client.createDataset({ dataset: vector(own.id) }))).message).toContain("dataset.id");
});
