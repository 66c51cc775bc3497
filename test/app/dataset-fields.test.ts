import { create, type DescField, type DescMessage, ScalarType, toJson } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { DatasetSchema } from "../../src/gen/proto/tilegate/v1/dataset_pb.js";
import { DatasetService } from "../../src/gen/proto/tilegate/v1/dataset_service_pb.js";
import { operator, startTestApp, type TestApp } from "../harness/app.js";

const ACCOUNT = "acc0acc0-0000-4000-8000-000000000001";

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
  await app.useCases.accounts.create(OPERATOR, { id: ACCOUNT, name: "own" });
});
afterAll(() => app[Symbol.asyncDispose]());

/** What the service sets, and what would be another dataset. */
const NOT_SETTINGS = ["id", "account_id", "kind", "table_name", "create_time", "update_time", "etag"];

/** Where not any value will do. */
const GIVEN: Record<string, unknown> = {
  bounds: [-1, -2, 3, 4],
  format: "webp",
  maxzoom: 9,
  tile_size: 512,
  tile_url_template: "/{z}/{x}/{y}",
};

/** A value that is no default. */
function sampleOf(field: DescField): unknown {
  if (field.name in GIVEN) return GIVEN[field.name];
  if (field.fieldKind === "message") return samplesOf(field.message);
  if (field.fieldKind === "enum") return field.enum.values.at(-1)?.number;
  const scalar = field.scalar === ScalarType.STRING ? "some" : field.scalar === ScalarType.BOOL || 5;
  return field.fieldKind === "list" ? [scalar] : scalar;
}

const settingsOf = (message: DescMessage) =>
  message.fields.filter(({ name }) => !NOT_SETTINGS.includes(name));

const samplesOf = (message: DescMessage): Record<string, unknown> =>
  Object.fromEntries(settingsOf(message).map((field) => [field.localName, sampleOf(field)]));

/** A raster dataset has all settings. */
const full = create(DatasetSchema, { ...samplesOf(DatasetSchema), kind: 2, accountId: ACCOUNT });
const bare = create(DatasetSchema, { kind: 2, visibility: 1, accountId: ACCOUNT });

const plain = (dataset = bare) => toJson(DatasetSchema, dataset, { useProtoFieldName: true });
const expected = expect.objectContaining(plain(full) as object);

test("a dataset keeps every field that it was created with, also when it is changed", async () => {
  const client = app.client(DatasetService, operator);
  const { id } = (await client.createDataset({ dataset: full })).dataset ?? bare;
  expect(plain((await client.getDataset({ id })).dataset)).toEqual(expected);
  await client.updateDataset({ dataset: { id, title: full.title }, updateMask: { paths: ["title"] } });
  expect(plain((await client.getDataset({ id })).dataset)).toEqual(expected);
});

test("every field but those that make it another dataset can be changed", async () => {
  const client = app.client(DatasetService, operator);
  const { id } = (await client.createDataset({ dataset: bare })).dataset ?? bare;
  for (const { name } of settingsOf(DatasetSchema)) {
    await client.updateDataset({ dataset: { ...full, id }, updateMask: { paths: [name] } });
  }
  expect(plain((await client.getDataset({ id })).dataset)).toEqual(expected);
});
