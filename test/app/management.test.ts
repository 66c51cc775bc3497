import { type Client, Code, ConnectError } from "@connectrpc/connect";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { AccountService } from "../../src/gen/proto/tilegate/v1/account_service_pb.js";
import {
  type Dataset,
  DatasetKind,
  DatasetVisibility,
  PublicationStatus,
} from "../../src/gen/proto/tilegate/v1/dataset_pb.js";
import { DatasetService } from "../../src/gen/proto/tilegate/v1/dataset_service_pb.js";
import { type Headers, NOW, operator, startEmbeddedTestApp, type TestApp } from "../harness/app.js";

const OWN = "acc0acc0-0000-4000-8000-000000000001";
const OTHER = "acc0acc0-0000-4000-8000-000000000002";
const NOBODY = "acc0acc0-0000-4000-8000-00000000ffff";

let app: TestApp;
let datasets: Client<typeof DatasetService>;
let accounts: Client<typeof AccountService>;
/** The Authorization header of everybody who may ask. */
let callers: Record<string, Headers>;

beforeAll(async () => {
  app = await startEmbeddedTestApp();
  await app.useCases.accounts.create(OPERATOR, { id: OWN, name: "own" });
  await app.useCases.accounts.create(OPERATOR, { id: OTHER, name: "other" });
  datasets = app.client(DatasetService, operator);
  accounts = app.client(AccountService, operator);
  const service = async (accountId: string) => {
    const { secret } = await app.useCases.accounts.createServiceToken(OPERATOR, { accountId, name: "" });
    return { authorization: `Token ${secret}` };
  };
  const admin = (account: string) => app.user({ sub: "ada", account, roles: ["admin"] });
  callers = {
    anonymous: {},
    user: await app.user({ sub: "owen", account: OWN }),
    admin: await admin(OWN),
    service: await service(OWN),
    operator,
    "other account's admin": await admin(OTHER),
    "other account's service": await service(OTHER),
  };
});
afterAll(() => app[Symbol.asyncDispose]());

let tables = 0;
const vector = () => ({
  accountId: OWN,
  kind: DatasetKind.VECTOR,
  tableName: `t${++tables}`,
  visibility: DatasetVisibility.PUBLIC,
  status: PublicationStatus.PUBLISHED,
});

async function created(init: Omit<Partial<Dataset>, "$typeName" | "$unknown"> = {}): Promise<Dataset> {
  const { dataset } = await datasets.createDataset({ dataset: { ...vector(), ...init } });
  if (!dataset) throw new Error("no dataset in the answer");
  return dataset;
}

const get = async (id: string) => (await datasets.getDataset({ id })).dataset;

const outcomeOf = (call: Promise<unknown>) =>
  call.then(
    () => "ok",
    (error: unknown) => Code[ConnectError.from(error).code] ?? "?",
  );

const refusal = (code: Code, message: string | RegExp = "") => ({
  code,
  message: expect.stringMatching(message),
});

describe("who may do what", () => {
  const [ok, no, who, none] = ["ok", "PermissionDenied", "Unauthenticated", "NotFound"];
  const columns = [
    "anonymous",
    "user",
    "admin",
    "service",
    "operator",
    "other account's admin",
    "other account's service",
  ];
  type Attempt = (headers: Headers) => Promise<unknown>;
  const as = (headers: Headers) => app.client(DatasetService, headers);
  const accountsAs = (headers: Headers) => app.client(AccountService, headers);
  const token = async () => {
    const { serviceToken } = await accounts.createServiceToken({ accountId: OWN });
    return { id: serviceToken?.id ?? "" };
  };
  const update = (id: string) => ({ dataset: { id, title: "x" }, updateMask: { paths: ["title"] } });

  const rows: [string, Attempt, string[]][] = [
    ["CreateDataset", (h) => as(h).createDataset({ dataset: vector() }), [who, no, ok, ok, ok, none, none]],
    [
      "GetDataset",
      async (h) => as(h).getDataset({ id: (await created()).id }),
      [who, no, ok, ok, ok, none, none],
    ],
    ["ListDatasets", (h) => as(h).listDatasets({ accountId: OWN }), [who, no, ok, ok, ok, none, none]],
    ["ListDatasets of the caller's", (h) => as(h).listDatasets({}), [who, no, ok, ok, ok, ok, ok]],
    [
      "UpdateDataset",
      async (h) => as(h).updateDataset(update((await created()).id)),
      [who, no, ok, ok, ok, none, none],
    ],
    [
      "DeleteDataset",
      async (h) => as(h).deleteDataset({ id: (await created()).id }),
      [who, no, ok, ok, ok, none, none],
    ],
    [
      "BatchUpsertDatasets",
      (h) => as(h).batchUpsertDatasets({ accountId: OWN, datasets: [vector()] }),
      [who, no, ok, ok, ok, none, none],
    ],
    [
      "CreateAccount",
      (h) => accountsAs(h).createAccount({ name: `a${++tables}` }),
      [who, no, no, no, ok, no, no],
    ],
    ["GetAccount", (h) => accountsAs(h).getAccount({ id: OWN }), [who, ok, ok, ok, ok, none, none]],
    ["ListAccounts", (h) => accountsAs(h).listAccounts({}), [who, no, no, no, ok, no, no]],
    [
      "CreateServiceToken",
      (h) => accountsAs(h).createServiceToken({ accountId: OWN }),
      [who, no, ok, no, ok, none, no],
    ],
    [
      "ListServiceTokens",
      (h) => accountsAs(h).listServiceTokens({ accountId: OWN }),
      [who, no, ok, no, ok, none, no],
    ],
    [
      "RevokeServiceToken",
      async (h) => accountsAs(h).revokeServiceToken(await token()),
      [who, no, ok, no, ok, none, no],
    ],
  ];

  test.each(
    rows.flatMap(([rpc, attempt, outcomes]) =>
      columns.map((caller, i) => ({ rpc, caller, attempt, expected: outcomes[i] })),
    ),
  )("$rpc by $caller: $expected", async ({ attempt, caller, expected }) => {
    expect(await outcomeOf(attempt(callers[caller] ?? {}))).toBe(expected);
  });

  test("another account's dataset can't be told from one that does not exist", async () => {
    const { id } = await created();
    const messages = [id, NOBODY].map((each) =>
      as(callers["other account's admin"] ?? {})
        .getDataset({ id: each })
        .then(
          () => "",
          (error: Error) => error.message,
        ),
    );
    expect(new Set(await Promise.all(messages)).size).toBe(1);
  });

  test("a manager need not name the account, and can't name another's dataset into it", async () => {
    const service = as(callers.service ?? {});
    const { dataset } = await service.createDataset({ dataset: { ...vector(), accountId: "" } });
    expect(dataset?.accountId).toBe(OWN);
    const foreign = { accountId: OWN, datasets: [{ ...vector(), accountId: OTHER }] };
    await expect(service.batchUpsertDatasets(foreign)).rejects.toMatchObject(
      refusal(Code.InvalidArgument, /datasets\[0\]\.account_id/),
    );
  });
});

describe("a dataset", () => {
  test("comes back as it was created, with defaults, canonical ids and times", async () => {
    const id = "DADADADA-0000-4000-8000-0000000000AA";
    const { dataset } = await datasets.createDataset({
      dataset: {
        id,
        accountId: OWN.toUpperCase(),
        kind: DatasetKind.RASTER,
        visibility: DatasetVisibility.PRIVATE,
      },
    });
    const raster = { bounds: [], minzoom: 0, maxzoom: 18, tileSize: 256, format: "png", tileUrlTemplate: "" };
    expect(dataset).toMatchObject({
      id: id.toLowerCase(),
      accountId: OWN,
      status: PublicationStatus.DRAFT,
      cacheVersion: 1,
      raster,
      createTime: { seconds: BigInt(NOW.getTime() / 1000) },
    });
    expect(await get(id)).toEqual(dataset);
  });

  test("can't take another's id or table name, nor those of a deleted one", async () => {
    const { id, tableName } = await created();
    const again = [() => created({ id }), () => created({ tableName })];
    for (const call of again) await expect(call()).rejects.toMatchObject(refusal(Code.AlreadyExists));
    await datasets.deleteDataset({ id });
    for (const call of again) await expect(call()).rejects.toMatchObject(refusal(Code.AlreadyExists));
    await expect(get(id)).rejects.toMatchObject(refusal(Code.NotFound));
    await expect(datasets.deleteDataset({ id })).rejects.toMatchObject(refusal(Code.NotFound));
    const other = { accountId: OTHER, datasets: [{ ...vector(), accountId: "", tableName }] };
    await expect(datasets.batchUpsertDatasets(other)).rejects.toMatchObject(refusal(Code.AlreadyExists));
  });

  test("changes in the fields that the mask names, and in no other", async () => {
    const before = await created({ title: "old", owner: "olga", readerRoles: ["a"] });
    const { dataset } = await datasets.updateDataset({
      dataset: { id: before.id, title: "new", owner: "", readerRoles: ["ignored"], kind: DatasetKind.RASTER },
      updateMask: { paths: ["title", "owner"] },
    });
    expect(dataset).toEqual({
      ...before,
      title: "new",
      owner: "",
      updateTime: dataset?.updateTime,
      etag: dataset?.etag,
    });
    expect(dataset?.etag).not.toBe(before.etag);
    expect(await get(before.id)).toEqual(dataset);
  });

  test("gets a default back for each field that the mask names and the message leaves out", async () => {
    const { id } = await created({ cacheVersion: 7, status: PublicationStatus.PUBLISHED });
    const cleared = { dataset: { id }, updateMask: { paths: ["status", "cache_version"] } };
    const { dataset } = await datasets.updateDataset(cleared);
    expect(dataset).toMatchObject({ cacheVersion: 1, status: PublicationStatus.DRAFT });
  });

  test.each(["id", "account_id", "kind", "table_name", "create_time", "etag"])(
    "keeps its %s for good",
    async (path) => {
      const { id } = await created();
      const call = datasets.updateDataset({ dataset: { id }, updateMask: { paths: [path] } });
      await expect(call).rejects.toMatchObject(refusal(Code.InvalidArgument, /update_mask/));
    },
  );

  test("is neither changed nor deleted over a stale etag", async () => {
    const { id, etag } = await created();
    const paths = ["title"];
    await datasets.updateDataset({ dataset: { id, etag, title: "1" }, updateMask: { paths } });
    const stale = datasets.updateDataset({ dataset: { id, etag, title: "2" }, updateMask: { paths } });
    await expect(stale).rejects.toMatchObject(refusal(Code.Aborted));
    await expect(datasets.deleteDataset({ id, etag })).rejects.toMatchObject(refusal(Code.Aborted));
    expect(await get(id)).toMatchObject({ title: "1" });
    await datasets.deleteDataset({ id, etag: (await get(id))?.etag });
  });

  test("of concurrent writers with one etag, one wins", async () => {
    const { id, etag } = await created();
    const write = (title: string) =>
      outcomeOf(datasets.updateDataset({ dataset: { id, etag, title }, updateMask: { paths: ["title"] } }));
    const outcomes = await Promise.all(["a", "b", "c", "d"].map(write));
    expect(outcomes.toSorted()).toEqual(["Aborted", "Aborted", "Aborted", "ok"]);
  });
});

describe("a batch of upserts", () => {
  test("creates, replaces and revives, by id or by table name", async () => {
    const [byId, byTable, deleted] = [await created(), await created(), await created()];
    await datasets.deleteDataset({ id: deleted.id });
    const fresh = vector();
    const answer = await datasets.batchUpsertDatasets({
      accountId: OWN,
      datasets: [
        { ...vector(), id: byId.id, tableName: byId.tableName, title: "by id" },
        { ...vector(), tableName: byTable.tableName, title: "by table" },
        { ...vector(), id: deleted.id, tableName: deleted.tableName, title: "revived" },
        { ...fresh, title: "new" },
      ],
    });
    expect(answer).toMatchObject({ createdCount: 2, updatedCount: 2 });
    expect(answer.ids.slice(0, 3)).toEqual([byId.id, byTable.id, deleted.id]);
    const titles = await Promise.all(answer.ids.map(async (id) => (await get(id))?.title));
    expect(titles).toEqual(["by id", "by table", "revived", "new"]);
  });

  test("takes 500, and done again changes nothing but etags", async () => {
    const request = { accountId: OWN, datasets: Array.from({ length: 500 }, vector) };
    const first = await datasets.batchUpsertDatasets(request);
    expect(first).toMatchObject({ createdCount: 500, updatedCount: 0 });
    expect(await datasets.batchUpsertDatasets(request)).toMatchObject({
      ids: first.ids,
      createdCount: 0,
      updatedCount: 500,
    });
  });

  test.each([
    ["a field that the schema refuses", { title: "x".repeat(300) }, Code.InvalidArgument, "title"],
    ["a field that the rules refuse", { raster: {} }, Code.InvalidArgument, "raster"],
    ["a missing field", { visibility: 0 }, Code.InvalidArgument, "visibility"],
    ["another's table name", { id: NOBODY, tableName: "taken" }, Code.AlreadyExists, "table_name"],
    ["a repeated table name", { tableName: "repeated" }, Code.InvalidArgument, "table_name"],
  ])("with %s does nothing and names index and field", async (_case, bad, code, field) => {
    await outcomeOf(created({ tableName: "taken" }));
    const good = {
      ...vector(),
      tableName: field === "table_name" && !("id" in bad) ? "repeated" : `t${++tables}`,
    };
    const call = datasets.batchUpsertDatasets({ accountId: OWN, datasets: [good, { ...vector(), ...bad }] });
    await expect(call).rejects.toMatchObject(refusal(code, new RegExp(`datasets\\[1\\]\\.${field}`)));
    // Its table name is still free.
    await created({ tableName: good.tableName });
  });

  test("can't turn a dataset into one of another kind", async () => {
    const { id } = await created();
    const raster = { id, kind: DatasetKind.RASTER, visibility: DatasetVisibility.PUBLIC };
    await expect(datasets.batchUpsertDatasets({ accountId: OWN, datasets: [raster] })).rejects.toMatchObject(
      refusal(Code.InvalidArgument, /datasets\[0\]\.kind: is immutable/),
    );
  });
});

describe("a listing", () => {
  test("is newest first, and of one account", async () => {
    const ids = [(await created()).id, (await created()).id];
    const { datasets: [newest, next] = [] } = await datasets.listDatasets({ accountId: OWN, limit: 10 });
    expect([next?.id, newest?.id]).toEqual(ids);
    const other = await app.client(DatasetService, callers["other account's service"]).listDatasets({});
    expect(other.datasets.filter(({ accountId }) => accountId !== OTHER)).toEqual([]);
  });

  test("lists what lives throughout exactly once, whatever comes and goes between pages", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ created: fc.nat(3), deleted: fc.array(fc.nat(40), { maxLength: 5 }) }), {
          maxLength: 5,
        }),
        async (disturbances) => {
          const { account } = await accounts.createAccount({ name: `paged ${++tables}` });
          const accountId = account?.id ?? "";
          const many = async (length: number) => {
            if (length === 0) return [];
            const rows = Array.from({ length }, () => ({ ...vector(), accountId }));
            return (await datasets.batchUpsertDatasets({ accountId, datasets: rows })).ids;
          };
          const living = new Set(await many(35));
          const seen: string[] = [];
          let cursor = "";
          for (let page = 0; page === 0 || cursor !== ""; page += 1) {
            const answer = await datasets.listDatasets({ accountId, limit: 10, cursor });
            seen.push(...answer.datasets.map(({ id }) => id));
            cursor = answer.cursor;
            const { created = 0, deleted = [] } = disturbances[page] ?? {};
            await many(created);
            for (const index of deleted) {
              const id = [...living][index];
              if (id === undefined) continue;
              living.delete(id);
              await datasets.deleteDataset({ id });
            }
          }
          expect(new Set(seen).size).toBe(seen.length);
          expect([...living].filter((id) => !seen.includes(id))).toEqual([]);
        },
      ),
      { numRuns: 15 },
    );
  });
});
