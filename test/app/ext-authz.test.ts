import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import {
  HeaderValueOption_HeaderAppendAction as Append,
  Authorization,
  type CheckResponse,
  file_envoy_service_auth_v3_external_auth as file,
} from "../../src/gen/proto/envoy/service/auth/v3/external_auth_pb.js";
import { NOW, type TestApp } from "../harness/app.js";
import { LIVE_EXP, queryOf, startWithTiles } from "./forward-auth.js";
import { ACCOUNT, PRIVATE } from "./token-doors.js";

const PAGE = "https://maps.example.com";

let app: TestApp;
let key: { id: string; token: string };
beforeAll(async () => {
  app = await startWithTiles();
  const restrictions = { origins: ["maps.example.com"], datasetIds: [PRIVATE] };
  const created = await app.useCases.apiKeys.create(OPERATOR, restrictions, ACCOUNT);
  key = { id: created.key.id, token: created.token };
});
afterAll(() => app[Symbol.asyncDispose]());
afterEach(() => {
  app.now = NOW;
});

const check = (
  path: string,
  headers: Record<string, string> = {},
  method = "GET",
  of: TestApp = app,
): Promise<CheckResponse> =>
  of
    .client(Authorization, {}, "grpc")
    .check({ attributes: { request: { http: { method, path, headers: { ":path": path, ...headers } } } } });

/** Status, headers and body that the client of a refused request gets. */
function denied({ status, httpResponse }: CheckResponse) {
  if (httpResponse.case !== "deniedResponse") throw new Error("granted");
  const { headers, body } = httpResponse.value;
  return {
    code: status?.code,
    status: httpResponse.value.status?.code,
    headers: Object.fromEntries(headers.map(({ header }) => [header?.key, header?.value])),
    body: JSON.parse(body),
  };
}

test("a request that may be passed on loses its credentials, and gets all that the tile server is to know", async () => {
  const { status, httpResponse, dynamicMetadata } = await check(`/roads/1/1/1?${queryOf("roads")}`);
  expect(status?.code).toBe(0);
  if (httpResponse.case !== "okResponse") throw new Error("refused");
  const { headers, headersToRemove, queryParametersToRemove } = httpResponse.value;
  expect(headers.map(({ header }) => [header?.key, header?.value])).toEqual([
    ["x-tilegate-scope", "roads"],
    ["x-tilegate-account", ACCOUNT],
    ["x-tilegate-key-id", ""],
    ["x-tilegate-principal", "token"],
    ["x-tilegate-cache", "public"],
  ]);
  // What a client sent by these names is overwritten.
  for (const { appendAction, keepEmptyValue } of headers) {
    expect([appendAction, keepEmptyValue]).toEqual([Append.OVERWRITE_IF_EXISTS_OR_ADD, true]);
  }
  expect(headersToRemove).toEqual(["x-api-key"]);
  expect(queryParametersToRemove).toEqual(["sig", "exp", "scope", "key"]);
  expect(dynamicMetadata).toEqual({ scope: "roads", account: ACCOUNT, key_id: "" });
});

test("an API key opens its datasets' tiles to its pages", async () => {
  for (const [path, headers] of [
    ["/secrets/1/1/1", { "x-api-key": key.token, origin: PAGE }],
    [`/secrets/1/1/1?key=${key.token}`, { origin: PAGE }],
  ] as const) {
    const { dynamicMetadata } = await check(path, headers);
    expect(dynamicMetadata).toEqual({ scope: "secrets", account: ACCOUNT, key_id: key.id });
  }
});

test("an API key is refused from other addresses than those that it is locked to, as Envoy tells them", async () => {
  const { token } = await app.useCases.apiKeys.create(OPERATOR, { allowedIps: ["203.0.113.0/24"] }, ACCOUNT);
  const from = async (address: string) => {
    const http = { method: "GET", path: "/roads/1/1/1", headers: { "x-api-key": token } };
    const source = { address: { socketAddress: { address } } };
    const { status } = await app
      .client(Authorization, {}, "grpc")
      .check({ attributes: { source, request: { http } } });
    return status?.code;
  };
  expect(await from("203.0.113.9")).toBe(0);
  expect(await from("198.51.100.9")).toBe(7);
  expect(await from("")).toBe(7);
});

const EXPIRED = queryOf("roads", NOW.getTime() / 1000);

test.each([
  [401, 16, "missing", "/roads/1/1/1", {}, "GET"],
  [403, 7, "expired", `/roads/1/1/1?${EXPIRED}`, {}, "GET"],
  [403, 7, "signature", `/roads/1/1/1?${queryOf("roads", LIVE_EXP, "0".repeat(64))}`, {}, "GET"],
  [403, 7, "scope", `/secrets/1/1/1?${queryOf("roads")}`, {}, "HEAD"],
  [403, 7, "path", `/roads//1/1/1?${queryOf("roads")}`, {}, "GET"],
  [403, 7, "malformed", `/roads/1/1/1?${queryOf("roads")}`, {}, "POST"],
  [403, 7, "malformed", `/roads/1/1/1?${queryOf("roads")}&sig=1`, {}, "GET"],
  [403, 7, "malformed", "/secrets/1/1/1", { "x-api-key": "a,b", origin: PAGE }, "GET"],
  [
    403,
    7,
    "malformed",
    "/secrets/1/1/1",
    { "x-api-key": "a", origin: `${PAGE},https://evil.example` },
    "GET",
  ],
  [403, 7, "malformed", "/secrets/1/1/1", { x_api_key: "a" }, "GET"],
  [403, 7, "malformed", `/roads/1/1/1?${queryOf("roads")}`, { "x_tilegate-scope": "a" }, "GET"],
  [403, 7, "key", "/secrets/1/1/1", { "x-api-key": "tgk_nonsense", origin: PAGE }, "GET"],
  [403, 7, "key", "/secrets/1/1/1", { authorization: "Bearer nonsense" }, "GET"],
])("a request is refused with %i: %i %s, %s", async (status, code, reason, path, headers, method) => {
  const answer = denied(await check(path, headers, method));
  expect(answer).toMatchObject({
    status,
    code,
    headers: { "x-tilegate-reason": reason },
    body: { status, reason },
  });
});

test("a refusal can be read by the page that asked for the tile", async () => {
  const { headers } = denied(await check("/secrets/1/1/1", { origin: PAGE }));
  expect(headers).toMatchObject({
    "access-control-allow-origin": "*",
    "content-type": "application/problem+json",
    "www-authenticate": "Bearer",
  });
});

test("whose page it is, the Origin tells, and no header whose value is that word", async () => {
  await using listed = await startWithTiles({ CORS_ORIGINS: PAGE });
  const headers = { accept: "origin", cookie: "a=b", origin: PAGE };
  const answer = denied(await check("/secrets/1/1/1", headers, "GET", listed));
  expect(answer.headers["access-control-allow-origin"]).toBe(PAGE);
});

test("a key that was used too often is told when to come back", async () => {
  const rateLimit = { requests: 1, windowSeconds: 60 };
  const { token } = await app.useCases.apiKeys.create(OPERATOR, { rateLimit }, ACCOUNT);
  expect((await check("/roads/1/1/1", { "x-api-key": token })).status?.code).toBe(0);
  const answer = denied(await check("/roads/1/1/1", { "x-api-key": token }));
  expect(answer).toMatchObject({ status: 429, code: 8, headers: { "x-tilegate-reason": "rate_limited" } });
  expect(Number(answer.headers["retry-after"])).toBeGreaterThan(0);
});

describe("who may ask", () => {
  test("is whom TRUSTED_PROXIES names: others can't try out keys and paths", async () => {
    await using distrustful = await startWithTiles({ TRUSTED_PROXIES: "10.0.0.0/8" });
    const error = await check("/roads/1/1/1", {}, "GET", distrustful).catch((reason) =>
      ConnectError.from(reason),
    );
    expect(error).toMatchObject({ code: Code.PermissionDenied });
  });

  test("gets a refusal for a message that says nothing", async () => {
    const { httpResponse } = await app.client(Authorization, {}, "grpc").check({});
    expect(httpResponse.case).toBe("deniedResponse");
  });
});

// As in Envoy 1.40. Field numbers and types are all that the wire knows.
test("every field has the number and the type that Envoy's own definition gives it", () => {
  const numbers = file.messages
    .flatMap((message) => [message, ...message.nestedMessages])
    .map(({ typeName, fields }) => [
      typeName.replace("envoy.service.auth.v3.", ""),
      Object.fromEntries(
        fields.map(({ name, number, fieldKind, proto }) => [name, [number, fieldKind, proto.type]]),
      ),
    ]);
  const [text, int32, message, bool, enumeration] = [9, 5, 11, 8, 14];
  expect(Object.fromEntries(numbers)).toEqual({
    CheckRequest: { attributes: [1, "message", message] },
    AttributeContext: { source: [1, "message", message], request: [4, "message", message] },
    "AttributeContext.Peer": { address: [1, "message", message] },
    "AttributeContext.Request": { http: [2, "message", message] },
    "AttributeContext.HttpRequest": {
      method: [2, "scalar", text],
      headers: [3, "map", message],
      path: [4, "scalar", text],
    },
    // envoy.config.core.v3
    Address: { socket_address: [1, "message", message] },
    SocketAddress: { address: [2, "scalar", text] },
    CheckResponse: {
      status: [1, "message", message],
      denied_response: [2, "message", message],
      ok_response: [3, "message", message],
      dynamic_metadata: [4, "message", message],
    },
    // google.rpc
    Status: { code: [1, "scalar", int32], message: [2, "scalar", text] },
    DeniedHttpResponse: {
      status: [1, "message", message],
      headers: [2, "list", message],
      body: [3, "scalar", text],
    },
    // envoy.type.v3: an enum, which the wire writes as a number.
    HttpStatus: { code: [1, "scalar", int32] },
    OkHttpResponse: {
      headers: [2, "list", message],
      headers_to_remove: [5, "list", text],
      query_parameters_to_remove: [8, "list", text],
    },
    HeaderValueOption: {
      header: [1, "message", message],
      append_action: [3, "enum", enumeration],
      keep_empty_value: [4, "scalar", bool],
    },
    HeaderValue: { key: [1, "scalar", text], value: [2, "scalar", text] },
  });
});
