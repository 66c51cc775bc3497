import { create, toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { grpcFrame } from "../../harness/grpc-frame.mjs";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import {
  AccountService,
  CreateServiceTokenRequestSchema,
} from "../../src/gen/proto/tilegate/v1/account_service_pb.js";
import { operator, startTestApp, type TestApp } from "../harness/app.js";
import { postGrpc, send } from "./raw-requests.js";

const ACCOUNT = "acc0acc0-0000-4000-8000-000000000001";
const ID = "2489e9ad-2ee2-8e00-8ec9-32d5f69181c0";

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
  await app.useCases.accounts.create(OPERATOR, { id: ACCOUNT, name: "acme" });
});
afterAll(() => app[Symbol.asyncDispose]());
afterEach(() => {
  expect(app.log.filter((line) => JSON.parse(line).level >= 50)).toEqual([]);
});

const rpc = (name: string, body: unknown) =>
  send(app, `/tilegate.v1.${name}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...operator },
    body: JSON.stringify(body),
  });

/** Refused as the caller's fault, by an error that names the field: by its whole path, unless it can't be decoded. */
async function expectRefused(...[name, body, field]: [...Parameters<typeof rpc>, string]) {
  const answer = await rpc(name, body);
  expect(answer.status, answer.text).toBe(400);
  const error = JSON.parse(answer.body) as { message: string };
  const isDecoded = !error.message.includes("JSON");
  const at = isDecoded ? field : "body";
  expect(error).toMatchObject({
    code: "invalid_argument",
    message: expect.stringContaining(field),
    details: [
      { debug: { domain: "tilegate", reason: isDecoded ? "INVALID_FIELD" : "MALFORMED_REQUEST" } },
      { debug: { fieldViolations: expect.arrayContaining([expect.objectContaining({ field: at })]) } },
    ],
  });
  expect(answer.text).not.toMatch(/node_modules|prisma|postgres|\.[cm]?[jt]s:\d/i);
}

const vector = {
  accountId: ACCOUNT,
  kind: "DATASET_KIND_VECTOR",
  visibility: "DATASET_VISIBILITY_PUBLIC",
  tableName: "t",
};
const raster = { accountId: ACCOUNT, kind: "DATASET_KIND_RASTER", visibility: "DATASET_VISIBILITY_PUBLIC" };
const long = "x".repeat(300);

test.each([
  [{ limit: 9 }, "limit"],
  [{ limit: 101 }, "limit"],
  [{ limit: -1 }, "limit"],
  [{ limit: 1e20 }, "limit"],
  [{ limit: 10.5 }, "limit"],
  [{ limit: "many" }, "limit"],
  [{ cursor: "x" }, "cursor"],
  [{ cursor: "!!!!" }, "cursor"],
  [{ cursor: "AAAAAAAAAAB" }, "cursor"],
  [{ cursor: "gAAAAAAAAAA" }, "cursor"],
  [{ cursor: "\0" }, "cursor"],
  [{ cursor: long }, "cursor"],
])("a listing with %j is refused", async (page, field) => {
  await expectRefused("DatasetService/ListDatasets", page, field);
  await expectRefused("AccountService/ListAccounts", page, field);
  await expectRefused("AccountService/ListServiceTokens", { ...page, accountId: ACCOUNT }, field);
});

test.each([
  [{ ...vector, kind: undefined }, "dataset.kind"],
  [{ ...vector, kind: 7 }, "dataset.kind"],
  [{ ...vector, kind: "BOGUS" }, "DatasetKind"],
  [{ ...vector, visibility: 0 }, "dataset.visibility"],
  [{ ...vector, status: 9 }, "dataset.status"],
  [{ ...vector, id: "x" }, "dataset.id"],
  [{ ...vector, accountId: "x" }, "dataset.account_id"],
  [{ ...vector, accountId: undefined }, "dataset.account_id"],
  [{ ...vector, tableName: undefined }, "dataset.table_name"],
  [{ ...vector, tableName: "a b" }, "dataset.table_name"],
  [{ ...vector, tableName: "a\n" }, "dataset.table_name"],
  [{ ...vector, tableName: "a;drop table datasets" }, "dataset.table_name"],
  [{ ...vector, tableName: "é" }, "dataset.table_name"],
  [{ ...vector, tableName: "x".repeat(64) }, "dataset.table_name"],
  [{ ...vector, title: long }, "dataset.title"],
  [{ ...vector, title: "a\0b" }, "dataset.title"],
  [{ ...vector, title: "\ud800" }, "title"],
  [{ ...vector, owner: long }, "dataset.owner"],
  [{ ...vector, owner: "\0" }, "dataset.owner"],
  [{ ...vector, readerRoles: [""] }, "dataset.reader_roles[0]"],
  [{ ...vector, readerRoles: ["a", "\0"] }, "dataset.reader_roles[1]"],
  [{ ...vector, readerRoles: Array(101).fill("a") }, "dataset.reader_roles"],
  [{ ...vector, readerRoles: ["x".repeat(129)] }, "dataset.reader_roles[0]"],
  [{ ...vector, readerSubjects: ["é".repeat(65)] }, "dataset.reader_subjects[0]"],
  [{ ...vector, readerSubjects: Array(101).fill("a") }, "dataset.reader_subjects"],
  [{ ...vector, readerSubjects: ["\0"] }, "dataset.reader_subjects[0]"],
  [{ ...vector, cacheVersion: 4294967295 }, "dataset.cache_version"],
  [{ ...vector, cacheVersion: -1 }, "cache_version"],
  [{ ...vector, etag: long }, "dataset.etag"],
  [{ ...vector, createTime: "yesterday" }, "Timestamp"],
  [{ ...vector, raster: {} }, "dataset.raster"],
  [{ ...raster, tableName: "t" }, "dataset.table_name"],
])("a dataset %j is refused", async (dataset, field) => {
  await expectRefused("DatasetService/CreateDataset", { dataset }, field);
});

test.each([
  [{ bounds: [1, 2, 3] }, "bounds"],
  [{ bounds: [1, 2, 3, 4, 5] }, "bounds"],
  [{ bounds: ["NaN", 1, 2, 3] }, "bounds[0]"],
  [{ bounds: [-181, 0, 1, 1] }, "bounds"],
  [{ bounds: [0, -91, 1, 1] }, "bounds"],
  [{ bounds: [0, 2, 1, 1] }, "bounds"],
  [{ minzoom: 31 }, "minzoom"],
  [{ minzoom: 9, maxzoom: 3 }, "minzoom"],
  [{ tileSize: 1 }, "tile_size"],
  [{ format: "PNG" }, "format"],
  [{ tileUrlTemplate: "tiles/{z}/{x}/{y}" }, "tile_url_template"],
  [{ tileUrlTemplate: "//evil.example/{z}/{x}/{y}" }, "tile_url_template"],
  [{ tileUrlTemplate: "/\\evil.example/{z}/{x}/{y}" }, "tile_url_template"],
  [{ tileUrlTemplate: "javascript:alert('{z}{x}{y}')" }, "tile_url_template"],
  [{ tileUrlTemplate: "https://user:pass@example.com/{z}/{x}/{y}" }, "tile_url_template"],
  [{ tileUrlTemplate: "/{z}/{x}/{y}?sig=1" }, "tile_url_template"],
  [{ tileUrlTemplate: "/{z}/{x}/{y}?%73ig=1" }, "tile_url_template"],
  [{ tileUrlTemplate: "/{z}/{x}/{y}#hash" }, "tile_url_template"],
  [{ tileUrlTemplate: "/{z}/{x}/{y}\0" }, "tile_url_template"],
  [{ tileUrlTemplate: `/{z}/{x}/{y}${"x".repeat(2_000)}` }, "tile_url_template"],
  [{ tileUrlTemplate: "/{z}/{x}" }, "tile_url_template"],
])("raster tiles %j are refused", async (tiles, field) => {
  const dataset = { ...raster, raster: tiles };
  await expectRefused("DatasetService/CreateDataset", { dataset }, `dataset.raster.${field}`);
  const batch = { accountId: ACCOUNT, datasets: [raster, dataset] };
  await expectRefused("DatasetService/BatchUpsertDatasets", batch, `datasets[1].raster.${field}`);
});

test.each([
  "",
  "x",
  "id",
  "kind",
  "tableName",
  "etag",
  "title,bogus",
  "raster.minzoom",
  "constructor",
  "title,",
])("an update of '%s' is refused", async (updateMask) => {
  await expectRefused("DatasetService/UpdateDataset", { dataset: { id: ID }, updateMask }, "update_mask");
});

test.each<[string, unknown, string]>([
  ["DatasetService/GetDataset", {}, "id"],
  ["DatasetService/GetDataset", { id: null }, "id"],
  ["DatasetService/GetDataset", { id: 7 }, "id"],
  ["DatasetService/GetDataset", { id: `${ID}\n` }, "id"],
  ["DatasetService/CreateDataset", {}, "dataset"],
  ["DatasetService/UpdateDataset", {}, "update_mask"],
  ["DatasetService/UpdateDataset", { dataset: {}, updateMask: "title" }, "dataset.id"],
  ["DatasetService/DeleteDataset", { id: ID, etag: long }, "etag"],
  ["DatasetService/BatchUpsertDatasets", { accountId: ACCOUNT }, "datasets"],
  [
    "DatasetService/BatchUpsertDatasets",
    { accountId: ACCOUNT, datasets: Array(501).fill(vector) },
    "datasets",
  ],
  ["DatasetService/BatchUpsertDatasets", { datasets: [vector] }, "account_id"],
  ["AccountService/CreateAccount", {}, "name"],
  ["AccountService/CreateAccount", { name: long }, "name"],
  ["AccountService/CreateAccount", { name: "a\0b" }, "name"],
  ["AccountService/CreateAccount", { name: ID }, "name"],
  ["AccountService/CreateAccount", { name: "a", id: "x" }, "id"],
  ["AccountService/CreateServiceToken", {}, "account_id"],
  ["AccountService/CreateServiceToken", { accountId: ACCOUNT, name: long }, "name"],
  ["AccountService/CreateServiceToken", { accountId: ACCOUNT, name: "\0" }, "name"],
  ["AccountService/CreateServiceToken", { accountId: ACCOUNT, expireTime: "soon" }, "Timestamp"],
  [
    "AccountService/CreateServiceToken",
    { accountId: ACCOUNT, expireTime: "1960-01-01T00:00:00Z" },
    "expire_time",
  ],
  [
    "AccountService/CreateServiceToken",
    { accountId: ACCOUNT, expireTime: "2020-01-01T00:00:00Z" },
    "expire_time",
  ],
  ["AccountService/RevokeServiceToken", { id: "tgs_x" }, "id"],
])("%s of %j is refused", async (name, body, field) => {
  await expectRefused(name, body, field);
});

describe("a binary timestamp, which JSON's bounds don't guard,", () => {
  test.each([
    [-1n, 0],
    [253_402_300_800n, 0],
    [9_223_372_036_854_775_807n, 0],
    [-9_223_372_036_854_775_808n, 999_999_999],
  ])("of %d s is refused", async (seconds, nanos) => {
    const message = create(CreateServiceTokenRequestSchema, {
      accountId: ACCOUNT,
      expireTime: { seconds, nanos },
    });
    const body = grpcFrame(toBinary(CreateServiceTokenRequestSchema, message));
    const answer = await postGrpc(app, `/${AccountService.typeName}/CreateServiceToken`, body, operator);
    expect(answer.grpcStatus).toBe(Code.InvalidArgument);
    expect(answer.text).toContain("expire_time");
  });
});
