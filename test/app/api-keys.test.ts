import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, type Timestamp, timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { generateSecret } from "../../src/domain/identity/secret.js";
import {
  ApiKeyRefusal,
  type ApiKeySchema,
  RateLimitSchema,
  type ApiKey as WireApiKey,
} from "../../src/gen/proto/tilegate/v1/api_key_pb.js";
import {
  ApiKeyService,
  type VerifyApiKeyRequestSchema,
} from "../../src/gen/proto/tilegate/v1/api_key_service_pb.js";
import { aVectorDataset, type Headers, NOW, operator, startTestApp, type TestApp } from "../harness/app.js";
import { createAccount, type TestAccount } from "./accounts.js";
import { badFields, codeOf, refused } from "./refusals.js";

const SECOND_MS = 1000;
const HOUR_MS = 3600 * SECOND_MS;
const DAY_MS = 24 * HOUR_MS;
const UNKNOWN_ID = "00000000-0000-4000-8000-000000000000";

type Settings = MessageInitShape<typeof ApiKeySchema>;
type KeyClient = Client<typeof ApiKeyService>;

let app: TestApp;
let account: TestAccount;
let stranger: TestAccount;

beforeAll(async () => {
  app = await startTestApp();
  stranger = await createAccount(app);
});
beforeEach(async () => {
  app.now = NOW;
  account = await createAccount(app);
});
afterAll(() => app[Symbol.asyncDispose]());

const timeAfter = (ms: number) => new Date(app.now.getTime() + ms);
const msFromNow = (time: Timestamp | undefined) => time && timestampDate(time).getTime() - app.now.getTime();

async function theKey(response: Promise<{ apiKey?: WireApiKey | undefined }>): Promise<WireApiKey> {
  const { apiKey } = await response;
  if (apiKey === undefined) throw new Error("an answer without its key");
  return apiKey;
}

function settingsOf(key: WireApiKey) {
  const { name, description, userAgent, origins, allowedIps, enabled, expireTime, datasetIds, rateLimit } =
    key;
  return { name, description, userAgent, origins, allowedIps, enabled, expireTime, datasetIds, rateLimit };
}

async function createDataset(accountId: string, tableName: string): Promise<string> {
  const dataset = { ...aVectorDataset, visibility: "private", accountId, tableName } as const;
  return (await app.useCases.datasets.create(OPERATOR, dataset)).id;
}

describe.each(["connect-json", "grpc"] as const)("over %s", (protocol) => {
  let client: KeyClient;
  beforeEach(() => {
    client = as(account.backend);
  });

  const as = (headers: Headers): KeyClient => app.client(ApiKeyService, headers, protocol);
  const createKey = (apiKey: Settings = {}) => theKey(client.createApiKey({ apiKey }));
  const get = (id: string) => theKey(client.getApiKey({ id }));
  const update = (id: string, change: Settings, paths: string[], etag = "") =>
    theKey(client.updateApiKey({ apiKey: { ...change, id, etag }, updateMask: { paths } }));
  const rotate = (id: string, graceMs?: number) =>
    theKey(
      client.rotateApiKey(graceMs === undefined ? { id } : { id, gracePeriod: durationFromMs(graceMs) }),
    );

  /** "VALID", or the typed reason. */
  async function verdict(token: string, request: MessageInitShape<typeof VerifyApiKeyRequestSchema> = {}) {
    const { valid, refusal } = await client.verifyApiKey({ ...request, token });
    expect(valid).toBe(refusal === ApiKeyRefusal.UNSPECIFIED);
    return valid ? "VALID" : ApiKeyRefusal[refusal];
  }

  describe("who may manage keys", () => {
    type Calls = (() => Promise<unknown>)[];
    /** To be made one after the other: the last one deletes the key. */
    const everyRpc = (caller: KeyClient, { id, token }: WireApiKey, accountId = ""): Calls => [
      () => caller.listApiKeys({ accountId }),
      () => caller.createApiKey({ apiKey: { accountId } }),
      () => caller.getApiKey({ id }),
      () => caller.updateApiKey({ apiKey: { id, name: "renamed" }, updateMask: { paths: ["name"] } }),
      () => caller.rotateApiKey({ id }),
      () => caller.undeleteApiKey({ id }),
      () => caller.verifyApiKey({ token }),
      () => caller.deleteApiKey({ id }),
    ];

    test.each([
      ["a service token", () => account.backend],
      ["an administrator", () => app.user({ sub: "ada", account: account.id, roles: ["admin"] })],
      ["the operator", () => operator],
    ])("%s", async (_, headers) => {
      for (const call of everyRpc(as(await headers()), await createKey(), account.id)) await call();
      const { apiKeys, totalCount } = await client.listApiKeys({});
      expect([apiKeys.length, totalCount]).toEqual([1, 1]);
    });

    test.each([
      ["not a user", "PermissionDenied", () => app.user({ sub: "ada", account: account.id })],
      ["not an API key", "PermissionDenied", (key: WireApiKey) => ({ "x-api-key": key.token })],
      ["not somebody anonymous", "Unauthenticated", () => ({})],
    ])("%s", async (_, code, headers) => {
      const key = await createKey();
      const codes = everyRpc(as(await headers(key)), key, account.id).map((call) => codeOf(call()));
      expect(new Set(await Promise.all(codes))).toEqual(new Set([code]));
      expect(await get(key.id)).toEqual(key);
    });

    test("another account's keys are not found, as keys that never were", async () => {
      const key = await createKey();
      const other = as(stranger.backend);
      const byId = (id: string) => [
        other.getApiKey({ id }),
        other.updateApiKey({ apiKey: { id, name: "mine" }, updateMask: { paths: ["name"] } }),
        other.rotateApiKey({ id }),
        other.undeleteApiKey({ id }),
        other.deleteApiKey({ id }),
      ];
      const errors = await Promise.all([...byId(key.id), ...byId(UNKNOWN_ID)].map(refused));
      expect(new Set(errors.map(({ message }) => message))).toEqual(
        new Set(["[not_found] API key not found"]),
      );
      expect(await other.verifyApiKey({ token: key.token })).toEqual(
        await other.verifyApiKey({ token: generateSecret("tgk_") }),
      );
      expect(await get(key.id)).toEqual(key);
    });

    test("another account is not found", async () => {
      const other = as(stranger.backend);
      expect(await codeOf(other.listApiKeys({ accountId: account.id }))).toBe("NotFound");
      expect(await codeOf(other.createApiKey({ apiKey: { accountId: account.id } }))).toBe("NotFound");
      expect(await codeOf(as(operator).createApiKey({ apiKey: { accountId: UNKNOWN_ID } }))).toBe("NotFound");
    });
  });

  describe("creation", () => {
    test("of a key without settings has the defaults", async () => {
      const key = await theKey(client.createApiKey({}));
      expect(key).toMatchObject({
        accountId: account.id,
        token: expect.stringMatching(/^tgk_[0-9A-Za-z]{33}$/),
        name: expect.stringMatching(/./),
        ...{ description: "", userAgent: "", origins: [], allowedIps: [], enabled: true, datasetIds: [] },
      });
      const { expireTime, rateLimit, lastUsedTime, deleteTime, previousTokenExpireTime } = key;
      const absent = [expireTime, rateLimit, lastUsedTime, deleteTime, previousTokenExpireTime];
      expect(absent).toEqual(absent.map(() => undefined));
      expect(await get(key.id)).toEqual(key);
    });

    test("ignores what is output only", async () => {
      const key = await createKey({
        id: UNKNOWN_ID,
        token: "tgk_mine",
        createTime: timestampFromDate(timeAfter(1)),
      });
      expect(key.id).not.toBe(UNKNOWN_ID);
      expect(key.token).not.toBe("tgk_mine");
      expect(msFromNow(key.createTime)).toBe(0);
    });

    test("lists datasets of its own account only", async () => {
      const own = await createDataset(account.id, `own_${protocol.replace("-", "_")}`);
      const foreign = await createDataset(stranger.id, `foreign_${protocol.replace("-", "_")}`);
      expect((await createKey({ datasetIds: [own.toUpperCase(), own] })).datasetIds).toEqual([own]);
      for (const id of [foreign, UNKNOWN_ID]) {
        expect(await codeOf(createKey({ datasetIds: [own, id] }))).toBe("NotFound");
      }
    });
  });

  describe("update", () => {
    const original = (datasetId: string) => ({
      name: "name",
      description: "description",
      userAgent: "agent",
      origins: ["example.com"],
      allowedIps: ["192.0.2.7"],
      enabled: false,
      expireTime: timestampFromDate(timeAfter(HOUR_MS)),
      datasetIds: [datasetId],
      rateLimit: create(RateLimitSchema, { requests: 5, windowSeconds: 10 }),
    });

    test.each([
      ["name", { name: "changed" }, { name: expect.stringMatching(/^Key 2027-01-15 /) }],
      ["description", { description: "changed" }, { description: "" }],
      ["user_agent", { userAgent: "changed" }, { userAgent: "" }],
      ["origins", { origins: ["a.example.com", "?"] }, { origins: [] }],
      ["allowed_ips", { allowedIps: ["192.0.2.0/24", "2001:DB8::1"] }, { allowedIps: [] }],
      ["enabled", { enabled: true }, { enabled: true }],
      [
        "expire_time",
        { expireTime: timestampFromDate(new Date(NOW.getTime() + DAY_MS)) },
        { expireTime: undefined },
      ],
      ["dataset_ids", { datasetIds: [] }, { datasetIds: [] }],
      [
        "rate_limit",
        { rateLimit: create(RateLimitSchema, { requests: 6, windowSeconds: 20 }) },
        { rateLimit: undefined },
      ],
    ])("of %s changes it alone, and clears it when it is not set", async (path, change, cleared) => {
      const datasetId = await createDataset(account.id, `${path}_${protocol.replace("-", "_")}`);
      const key = await createKey(original(datasetId));
      const everything = { description: "ignored", origins: ["ignored.example.com"], ...change };
      const changed = await update(key.id, everything, [path]);
      expect(settingsOf(changed)).toEqual({ ...original(datasetId), ...change });
      expect(settingsOf(await update(key.id, {}, [path]))).toEqual({ ...original(datasetId), ...cleared });
    });

    test.each([
      "",
      "nonsense",
      "id",
      "token",
      "account_id",
      "create_time",
      "delete_time",
      "etag",
      "origins.0",
    ])("of %j, which can't be changed, is refused", async (path) => {
      const key = await createKey();
      const paths = path === "" ? [] : ["name", path];
      expect(await badFields(update(key.id, { name: "changed" }, paths))).toEqual(["update_mask"]);
      expect(await get(key.id)).toEqual(key);
    });

    test("takes effect at once", async () => {
      const { id, token } = await createKey();
      expect(await verdict(token)).toBe("VALID");
      await update(id, { enabled: false }, ["enabled"]);
      expect(await verdict(token)).toBe("DISABLED");
      await update(id, {}, ["enabled"]);
      expect(await verdict(token)).toBe("VALID");
    });
  });

  describe("etag", () => {
    test("a stale one is ABORTED and nothing changes", async () => {
      const { id, etag } = await createKey();
      const changed = await update(id, { name: "first" }, ["name"], etag);
      expect(changed.etag).not.toBe(etag);
      expect(await codeOf(update(id, { name: "second" }, ["name"], etag))).toBe("Aborted");
      expect(await codeOf(client.rotateApiKey({ id, etag }))).toBe("Aborted");
      expect(await codeOf(client.deleteApiKey({ id, etag }))).toBe("Aborted");
      expect(await get(id)).toEqual(changed);
    });

    test("a current one lets the change through", async () => {
      const { id, etag } = await createKey();
      const changed = await update(id, { name: "x" }, ["name"], etag);
      const rotated = await theKey(client.rotateApiKey({ id, etag: changed.etag }));
      await client.deleteApiKey({ id, etag: rotated.etag });
      expect((await get(id)).deleteTime).toBeDefined();
    });

    test("without one the last write wins, and none of many at once is lost", async () => {
      const { id } = await createKey();
      await Promise.all([
        update(id, { name: "n" }, ["name"]),
        update(id, { description: "d" }, ["description"]),
        update(id, { userAgent: "u" }, ["user_agent"]),
      ]);
      expect(await get(id)).toMatchObject({ name: "n", description: "d", userAgent: "u" });
    });

    test("using a key leaves it", async () => {
      const { id, token, etag } = await createKey();
      await verdict(token);
      expect((await get(id)).etag).toBe(etag);
    });
  });

  describe("deletion", () => {
    test("is effective at once", async () => {
      const { id, token } = await createKey();
      expect(await verdict(token)).toBe("VALID");
      const deleted = await theKey(client.deleteApiKey({ id }));
      expect(msFromNow(deleted.deleteTime)).toBe(0);
      expect(await verdict(token)).toBe("NOT_FOUND");
      expect(await client.listApiKeys({})).toMatchObject({ apiKeys: [], totalCount: 0 });
      expect(await get(id)).toEqual(deleted);
    });

    test("leaves nothing to change, rotate or delete", async () => {
      const { id } = await createKey();
      await client.deleteApiKey({ id });
      expect(await codeOf(update(id, { name: "x" }, ["name"]))).toBe("NotFound");
      expect(await codeOf(rotate(id))).toBe("NotFound");
      expect(await codeOf(client.deleteApiKey({ id }))).toBe("NotFound");
    });

    test("is undone within 30 days, token and settings as they were", async () => {
      const key = await createKey({ origins: ["?"] });
      await client.deleteApiKey({ id: key.id });
      app.now = timeAfter(30 * DAY_MS - 1);
      const restored = await theKey(client.undeleteApiKey({ id: key.id }));
      expect(restored).toMatchObject({ token: key.token, name: key.name, origins: ["?"] });
      expect(restored.deleteTime).toBeUndefined();
      expect(await verdict(key.token)).toBe("VALID");
      expect(await client.listApiKeys({})).toMatchObject({ apiKeys: [restored], totalCount: 1 });
    });

    test("is for good after 30 days", async () => {
      const { id } = await createKey();
      await client.deleteApiKey({ id });
      app.now = timeAfter(30 * DAY_MS);
      expect(await codeOf(client.undeleteApiKey({ id }))).toBe("NotFound");
      expect(await codeOf(client.getApiKey({ id }))).toBe("NotFound");
    });

    test("undone on a key that is not deleted changes nothing", async () => {
      const key = await createKey();
      expect(await theKey(client.undeleteApiKey({ id: key.id }))).toEqual(key);
    });
  });

  describe("rotation", () => {
    test("leaves both tokens valid for 24 hours, then only the new one", async () => {
      const old = await createKey();
      const rotated = await rotate(old.id);
      expect(rotated.token).not.toBe(old.token);
      expect(msFromNow(rotated.previousTokenExpireTime)).toBe(DAY_MS);
      const { expireTime } = await client.verifyApiKey({ token: old.token });
      expect(msFromNow(expireTime)).toBe(DAY_MS);

      app.now = timeAfter(DAY_MS - 1);
      expect([await verdict(old.token), await verdict(rotated.token)]).toEqual(["VALID", "VALID"]);
      app.now = timeAfter(1);
      expect([await verdict(old.token), await verdict(rotated.token)]).toEqual(["EXPIRED", "VALID"]);
      expect((await get(old.id)).previousTokenExpireTime).toBeUndefined();
    });

    test("with a grace period of 0 refuses the old token at once", async () => {
      const old = await createKey();
      const rotated = await rotate(old.id, 0);
      expect(rotated.previousTokenExpireTime).toBeUndefined();
      expect([await verdict(old.token), await verdict(rotated.token)]).toEqual(["NOT_FOUND", "VALID"]);
    });

    test("with a grace period of 30 days, which is the longest", async () => {
      const { id } = await createKey();
      expect(msFromNow((await rotate(id, 30 * DAY_MS)).previousTokenExpireTime)).toBe(30 * DAY_MS);
    });

    test.each([
      ["-1 s", -SECOND_MS],
      ["30 days and 1 s", 30 * DAY_MS + SECOND_MS],
    ])("with a grace period of %s is refused", async (_, graceMs) => {
      const { id } = await createKey();
      expect(await badFields(rotate(id, graceMs))).toEqual(["grace_period"]);
    });

    test("lets no token outlive the key", async () => {
      const old = await createKey({ expireTime: timestampFromDate(timeAfter(HOUR_MS)) });
      const rotated = await rotate(old.id);
      expect(msFromNow(rotated.previousTokenExpireTime)).toBe(HOUR_MS);
      app.now = timeAfter(HOUR_MS);
      expect([await verdict(old.token), await verdict(rotated.token)]).toEqual(["EXPIRED", "EXPIRED"]);
    });

    test("ends the grace with a key whose expiry is set earlier meanwhile, and not later for a later one", async () => {
      const { id } = await createKey();
      await rotate(id);
      const expiry = (ms: number) => ({ expireTime: timestampFromDate(timeAfter(ms)) });
      const earlier = await update(id, expiry(HOUR_MS), ["expire_time"]);
      expect(msFromNow(earlier.previousTokenExpireTime)).toBe(HOUR_MS);
      const later = await update(id, expiry(3 * DAY_MS), ["expire_time"]);
      expect(msFromNow(later.previousTokenExpireTime)).toBe(HOUR_MS);
    });

    test("twice within the grace leaves two tokens, never three", async () => {
      const first = await createKey();
      const second = await rotate(first.id);
      const third = await rotate(first.id);
      const verdicts = [await verdict(first.token), await verdict(second.token), await verdict(third.token)];
      expect(verdicts).toEqual(["NOT_FOUND", "VALID", "VALID"]);
    });
  });
});
