import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { ApiKeyChange } from "../../src/domain/api-keys/settings.js";
import type { DatasetInput } from "../../src/domain/datasets/dataset-rules.js";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { generateSecret } from "../../src/domain/identity/secret.js";
import { ApiKeyRefusal } from "../../src/gen/proto/tilegate/v1/api_key_pb.js";
import {
  ApiKeyService,
  type VerifyApiKeyRequestSchema,
} from "../../src/gen/proto/tilegate/v1/api_key_service_pb.js";
import { aVectorDataset, NOW, startTestApp, type TestApp } from "../harness/app.js";
import { createAccount, type TestAccount } from "./accounts.js";

/** NOW is 40 s into a minute, and rate limits' windows begin with it. */
const REST_OF_MINUTE_SECONDS = 20;

type Request = Omit<MessageInitShape<typeof VerifyApiKeyRequestSchema>, "$typeName" | "token">;

let app: TestApp;
let account: TestAccount;
const datasets = { listed: "", unlisted: "", draft: "", open: "", foreign: "" };

beforeAll(async () => {
  app = await startTestApp();
  account = await createAccount(app);
  const stranger = await createAccount(app);
  const dataset = async (tableName: keyof typeof datasets, change: Partial<DatasetInput> = {}) => {
    const input = {
      ...aVectorDataset,
      visibility: "private",
      accountId: account.id,
      tableName,
      ...change,
    } as const;
    datasets[tableName] = (await app.useCases.datasets.create(OPERATOR, input)).id;
  };
  await dataset("listed");
  await dataset("unlisted");
  await dataset("draft", { status: "draft" });
  await dataset("open", { visibility: "public", accountId: stranger.id });
  await dataset("foreign", { accountId: stranger.id });
});
beforeEach(() => {
  app.now = NOW;
});
afterAll(() => app[Symbol.asyncDispose]());

const create = (settings: ApiKeyChange = {}) => app.useCases.apiKeys.create(OPERATOR, settings, account.id);
const later = (seconds: number) => new Date(app.now.getTime() + seconds * 1000);

describe.each(["connect-json", "grpc"] as const)("VerifyApiKey over %s", (protocol) => {
  let client: Client<typeof ApiKeyService>;
  beforeAll(() => {
    client = app.client(ApiKeyService, account.backend, protocol);
  });

  const verify = (token: string, request: Request = {}) => client.verifyApiKey({ ...request, token });

  async function verdict(...request: Parameters<typeof verify>): Promise<string> {
    const { valid, refusal } = await verify(...request);
    expect(valid).toBe(refusal === ApiKeyRefusal.UNSPECIFIED);
    return valid ? "VALID" : (ApiKeyRefusal[refusal] ?? "");
  }

  test("a valid key is answered with its id, its account and its expiry", async () => {
    const expireTime = later(60);
    const { key, token } = await create({ expireTime });
    expect(await verify(token)).toMatchObject({
      valid: true,
      apiKeyId: key.id,
      accountId: account.id,
      expireTime: timestampFromDate(expireTime),
    });
  });

  test("a key that was never issued, or is malformed, is NOT_FOUND and has no id", async () => {
    for (const token of [generateSecret("tgk_"), "tgk_nonsense", "x", "🗺", generateSecret("tgs_")]) {
      const answer = await verify(token);
      expect(answer).toMatchObject({
        valid: false,
        refusal: ApiKeyRefusal.NOT_FOUND,
        apiKeyId: "",
        accountId: "",
      });
    }
  });

  test("a disabled key is DISABLED, and named", async () => {
    const { key, token } = await create({ enabled: false });
    const answer = await verify(token);
    expect(answer).toMatchObject({
      refusal: ApiKeyRefusal.DISABLED,
      apiKeyId: key.id,
      accountId: account.id,
    });
  });

  test("an expired key is EXPIRED from its very expiry on, and tells since when", async () => {
    const { token } = await create({ expireTime: later(60) });
    const expiry = later(60);
    app.now = new Date(expiry.getTime() - 1);
    expect(await verdict(token)).toBe("VALID");
    app.now = expiry;
    const { refusal, expireTime } = await verify(token);
    expect(refusal).toBe(ApiKeyRefusal.EXPIRED);
    expect(expireTime && timestampDate(expireTime)).toEqual(expiry);
  });

  test.each<[string, Request]>([
    ["VALID", { origin: "https://example.com" }],
    ["VALID", { referer: "https://example.com/map?x=1" }],
    ["VALID", { origin: "https://example.com", referer: "https://evil.com/" }],
    ["ORIGIN", { origin: "https://evil.com", referer: "https://example.com/" }],
    ["ORIGIN", { origin: "null" }],
    ["ORIGIN", { origin: "x".repeat(8192) }],
    ["ORIGIN", {}],
  ])("a key locked to example.com is %s for %j", async (expected, request) => {
    const { token } = await create({ origins: ["example.com"] });
    expect(await verdict(token, request)).toBe(expected);
  });

  test.each<[string, Request]>([
    ["VALID", { userAgent: "Mozilla/5.0 ShopApp/2.1" }],
    ["USER_AGENT", { userAgent: "Mozilla/5.0 shopapp/2.1" }],
    ["USER_AGENT", {}],
  ])("a key for ShopApp/ is %s for %j", async (expected, request) => {
    const { token } = await create({ userAgent: "ShopApp/" });
    expect(await verdict(token, request)).toBe(expected);
  });

  test.each<[string, Request]>([
    ["VALID", { clientIp: "192.0.2.7" }],
    ["VALID", { clientIp: "::ffff:192.0.2.7" }],
    ["VALID", { clientIp: "2001:DB8:0::1" }],
    ["IP", { clientIp: "192.0.3.7" }],
    ["IP", { clientIp: "192.0.2.7, 192.0.3.7" }],
    ["IP", { clientIp: "x".repeat(64) }],
    // A gateway that doesn't tell; its own address, from which it asks here, is not its client's.
    ["IP", {}],
  ])("a key locked to IP ranges is %s for %j", async (expected, request) => {
    const { token } = await create({ allowedIps: ["127.0.0.0/8", "192.0.2.0/24", "2001:db8::/32"] });
    expect(await verdict(token, request)).toBe(expected);
  });

  test.each([
    ["VALID", "listed"],
    ["VALID", "open"],
    ["DATASET", "unlisted"],
    ["DATASET", "draft"],
    ["DATASET", "foreign"],
    ["DATASET", "unknown"],
  ] as const)("a key that lists two datasets is %s for one that is %s", async (expected, name) => {
    const { token } = await create({ datasetIds: [datasets.listed, datasets.draft] });
    const datasetId = name === "unknown" ? "00000000-0000-4000-8000-000000000000" : datasets[name];
    expect(await verdict(token, { datasetId })).toBe(expected);
    expect(await verdict(token, { datasetId: datasetId.toUpperCase() })).toBe(expected);
  });

  test("a key that was used too often is RATE_LIMITED until the next window", async () => {
    const { token } = await create({ rateLimit: { requests: 2, windowSeconds: 60 } });
    expect([await verdict(token), await verdict(token)]).toEqual(["VALID", "VALID"]);
    const answer = await verify(token);
    expect(answer.refusal).toBe(ApiKeyRefusal.RATE_LIMITED);
    expect(answer.retryAfter).toMatchObject({ seconds: BigInt(REST_OF_MINUTE_SECONDS), nanos: 0 });
    app.now = later(REST_OF_MINUTE_SECONDS);
    expect(await verdict(token)).toBe("VALID");
  });

  test("a refused request does not count towards the rate limit", async () => {
    const { token } = await create({
      origins: ["example.com"],
      rateLimit: { requests: 1, windowSeconds: 60 },
    });
    for (const origin of ["https://evil.com", "null", ""])
      expect(await verdict(token, { origin })).toBe("ORIGIN");
    expect(await verdict(token, { origin: "https://example.com" })).toBe("VALID");
  });

  test("the first rule that refuses is the answer", async () => {
    const { key, token } = await create({
      enabled: false,
      expireTime: later(60),
      origins: ["example.com"],
      userAgent: "ShopApp/",
      allowedIps: ["192.0.2.7"],
    });
    app.now = later(60);
    const answers = [await verdict(token, { datasetId: datasets.unlisted })];
    const changes: ApiKeyChange[] = [
      { enabled: true },
      { expireTime: null },
      { origins: null },
      { userAgent: null },
      { allowedIps: null },
      { datasetIds: [datasets.unlisted] },
    ];
    for (const change of changes) {
      await app.useCases.apiKeys.update(OPERATOR, key.id, change);
      answers.push(await verdict(token, { datasetId: datasets.unlisted }));
    }
    expect(answers).toEqual(["DISABLED", "EXPIRED", "ORIGIN", "USER_AGENT", "IP", "DATASET", "VALID"]);
  });
});
