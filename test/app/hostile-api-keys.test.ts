import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { ApiKeyService } from "../../src/gen/proto/tilegate/v1/api_key_service_pb.js";
import { NOW, startTestApp, type TestApp } from "../harness/app.js";
import { createAccount, type TestAccount } from "./accounts.js";
import { send } from "./raw-requests.js";

const ID = "00000000-0000-4000-8000-000000000000";

let app: TestApp;
let account: TestAccount;

beforeAll(async () => {
  app = await startTestApp();
  account = await createAccount(app);
});
afterAll(() => app[Symbol.asyncDispose]());
afterEach(() => {
  expect(app.log.filter((line) => JSON.parse(line).level >= 50)).toEqual([]);
});

/** Refused as the caller's fault, by an error that names the field by its whole path, or quotes what can't be decoded. */
async function expectRefused(rpc: string, body: unknown, field: string) {
  const answer = await send(app, `/${ApiKeyService.typeName}/${rpc}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...account.backend },
    body: JSON.stringify(body),
  });
  expect(answer.status, answer.text).toBe(400);
  expect(JSON.parse(answer.body)).toMatchObject({
    code: "invalid_argument",
    message: expect.stringContaining(field === "body" ? "JSON" : `${field}: `),
    details: [
      { debug: { domain: "tilegate", reason: field === "body" ? "MALFORMED_REQUEST" : "INVALID_FIELD" } },
      { debug: { fieldViolations: [{ field }] } },
    ],
  });
  expect(answer.text).not.toMatch(/node_modules|prisma|postgres|\.[cm]?[jt]s:\d/i);
}

const origins = (...patterns: string[]) => ({ origins: patterns });
const ips = (...allowedIps: string[]) => ({ allowedIps });

test.each([
  ["a name of 101 characters", { name: "x".repeat(101) }, "name"],
  ["a name with a NUL", { name: "a\0b" }, "name"],
  ["a name that is a number", { name: 5 }, "body"],
  ["a description of 1,001 characters", { description: "x".repeat(1001) }, "description"],
  ["a user agent of 257 characters", { userAgent: "x".repeat(257) }, "user_agent"],
  ["a user agent with a NUL", { userAgent: "\0" }, "user_agent"],
  ["51 origins", origins(...Array.from({ length: 51 }, (_, index) => `h${index}.example.com`)), "origins"],
  ["an empty origin", origins("example.com", ""), "origins[1]"],
  ["an origin of 256 characters", origins("x".repeat(256)), "origins[0]"],
  ["an origin with a scheme", origins("https://example.com"), "origins[0]"],
  ["an origin with a wildcard inside", origins("example.com", "a.*.com"), "origins[1]"],
  ["an origin with a wildcard before a single label", origins("example.com", "?", "*.com"), "origins[2]"],
  ["an origin with a NUL", origins("a\0b"), "origins[0]"],
  ["51 IP ranges", ips(...Array.from({ length: 51 }, (_, index) => `10.0.${index}.0/24`)), "allowed_ips"],
  ["an empty IP range", ips("192.0.2.7", ""), "allowed_ips[1]"],
  ["an IP range of 50 characters", ips(`${"0000:".repeat(6)}ffff:ffff:ffff/128    `), "allowed_ips[0]"],
  ["a prefix that is too long", ips("::/0", "0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/33"), "allowed_ips[3]"],
  ["a prefix in another number system", ips("10.0.0.0/0x8"), "allowed_ips[0]"],
  ["an address in another number system", ips("10.0.0.0/8", "0x7f.1"), "allowed_ips[1]"],
  ["a netmask", ips("10.0.0.0/255.0.0.0"), "allowed_ips[0]"],
  ["an address with a zone", ips("fe80::1%eth0"), "allowed_ips[0]"],
  ["an address in brackets", ips("[2001:db8::1]"), "allowed_ips[0]"],
  ["a host name in place of an address", ips("localhost"), "allowed_ips[0]"],
  ["an address with a NUL", ips("10.0.0.1\0"), "allowed_ips[0]"],
  ["an expiry before 1970", { expireTime: "1969-12-31T23:59:59Z" }, "expire_time"],
  ["an expiry that is now", { expireTime: NOW.toISOString() }, "expire_time"],
  ["an expiry that is no time", { expireTime: "tomorrow" }, "body"],
  ["a dataset that is no UUID", { datasetIds: ["x"] }, "dataset_ids[0]"],
  ["501 datasets", { datasetIds: Array(501).fill(ID) }, "dataset_ids"],
  ["a rate limit of nothing", { rateLimit: {} }, "rate_limit.requests"],
  ["a rate limit of 1,000,001", { rateLimit: { requests: 1_000_001 } }, "rate_limit.requests"],
  ["a negative rate limit", { rateLimit: { requests: -1 } }, "body"],
  ["a window over a day", { rateLimit: { requests: 1, windowSeconds: 86_401 } }, "rate_limit.window_seconds"],
  ["a misspelt restriction", { origin: ["example.com"] }, "body"],
])("%s is refused, on creation and on change", async (_, settings, name) => {
  const field = name === "body" ? name : `api_key.${name}`;
  const { key, etag } = await app.useCases.apiKeys.create(OPERATOR, {}, account.id);
  const updateMask = Object.keys(settings).join();
  await expectRefused("CreateApiKey", { apiKey: settings }, field);
  await expectRefused("UpdateApiKey", { apiKey: { ...settings, id: key.id }, updateMask }, field);
  expect(await app.useCases.apiKeys.get(OPERATOR, key.id)).toHaveProperty("etag", etag);
});

test.each([
  ["CreateApiKey", "api_key.account_id", { apiKey: { accountId: "x" } }],
  ["GetApiKey", "id", {}],
  ["GetApiKey", "id", { id: "x" }],
  ["DeleteApiKey", "id", { id: `${ID}0` }],
  ["DeleteApiKey", "etag", { id: ID, etag: "x".repeat(65) }],
  ["UndeleteApiKey", "id", { id: "" }],
  ["RotateApiKey", "id", { id: "x" }],
  ["RotateApiKey", "grace_period", { id: ID, gracePeriod: "2592001s" }],
  ["RotateApiKey", "grace_period", { id: ID, gracePeriod: "-0.001s" }],
  ["RotateApiKey", "etag", { id: ID, etag: "x".repeat(65) }],
  ["UpdateApiKey", "api_key", { updateMask: "name" }],
  ["UpdateApiKey", "api_key.id", { apiKey: {}, updateMask: "name" }],
  ["UpdateApiKey", "api_key.id", { apiKey: { id: "x" }, updateMask: "name" }],
  ["UpdateApiKey", "update_mask", { apiKey: { id: ID } }],
  ["UpdateApiKey", "api_key.etag", { apiKey: { id: ID, etag: "x".repeat(65) }, updateMask: "name" }],
  ["ListApiKeys", "account_id", { accountId: "x" }],
  ["ListApiKeys", "limit", { limit: 9 }],
  ["ListApiKeys", "limit", { limit: 101 }],
  ["ListApiKeys", "body", { limit: -1 }],
  ["ListApiKeys", "cursor", { cursor: "!!!!" }],
  ["ListApiKeys", "cursor", { cursor: "x".repeat(201) }],
  ["VerifyApiKey", "token", {}],
  ["VerifyApiKey", "token", { token: "x".repeat(513) }],
  ["VerifyApiKey", "dataset_id", { token: "x", datasetId: "x" }],
  ["VerifyApiKey", "origin", { token: "x", origin: "x".repeat(8193) }],
  ["VerifyApiKey", "referer", { token: "x", referer: "x".repeat(8193) }],
  ["VerifyApiKey", "user_agent", { token: "x", userAgent: "x".repeat(8193) }],
  ["VerifyApiKey", "client_ip", { token: "x", clientIp: "1".repeat(65) }],
])("%s with a bad %s is refused, naming it", async (rpc, field, body) => {
  await expectRefused(rpc, body, field);
});
