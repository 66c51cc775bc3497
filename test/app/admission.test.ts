import { gzipSync } from "node:zlib";
import type { DescMethod } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { grpcFrame } from "../../harness/grpc-frame.mjs";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { AccountService } from "../../src/gen/proto/tilegate/v1/account_service_pb.js";
import { ApiKeyService } from "../../src/gen/proto/tilegate/v1/api_key_service_pb.js";
import { DatasetService } from "../../src/gen/proto/tilegate/v1/dataset_service_pb.js";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import {
  aVectorDataset,
  type Headers,
  operator,
  PROTOCOLS,
  startTestApp,
  type TestApp,
} from "../harness/app.js";
import { connectRaw } from "../server/raw-client.js";
import { createAccount, type TestAccount } from "./accounts.js";
import { postGrpc, send } from "./raw-requests.js";
import { codeOf } from "./refusals.js";

const BATCH = "/tilegate.v1.TileTokenService/BatchGetTileTokens";
const UPSERT = "/tilegate.v1.DatasetService/BatchUpsertDatasets";

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

const pathOf = ({ parent, name }: DescMethod) => `/${parent.typeName}/${name}`;
const managed = [ApiKeyService, DatasetService, AccountService]
  .flatMap(({ methods }) => [...methods] as DescMethod[])
  .map(pathOf);

/** What a client is told that has sent its headers and not a byte of the body that they announce. */
async function answerToHeaders(path: string, headers: Headers = {}): Promise<string> {
  const raw = await connectRaw(Number(new URL(app.url).port));
  const lines = Object.entries({
    Host: "x",
    Connection: "close",
    "Content-Type": "application/json",
    "Content-Length": "60000",
    ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  let received = "";
  raw.socket.on("data", (chunk) => {
    received += chunk;
  });
  raw.socket.write(`POST ${path} HTTP/1.1\r\n${lines.join("")}\r\n`);
  await raw.receives("}");
  return received;
}

describe("before a byte of its body has been read", () => {
  test.each([...managed, "/v1/api_keys", "/v1/api_keys/x/change_settings"])(
    "a stranger is refused by %s, which is for managers",
    async (path) => {
      expect(await answerToHeaders(path)).toMatch(/^HTTP\/1\.1 401 /);
    },
  );

  test.each([BATCH, UPSERT, "/api/tiles/tokens/", "/tilegate.v1.ApiKeyService/VerifyApiKey"])(
    "a credential that does not resolve is refused by %s",
    async (path) => {
      const bads: Headers[] = [{ Authorization: "Bearer x" }, { "X-Api-Key": "tgk_x" }];
      for (const bad of bads) {
        expect(await answerToHeaders(path, bad)).toMatch(/^HTTP\/1\.1 401 /);
      }
    },
  );

  test.each(["CreateServiceToken", "ListServiceTokens", "CreateAccount", "ListAccounts"])(
    "a service token is refused by %s, which is not for backends",
    async (rpc) => {
      const path = `/${AccountService.typeName}/${rpc}`;
      expect(await answerToHeaders(path, account.backend)).toMatch(/^HTTP\/1\.1 403 /);
    },
  );

  test.each([
    [BATCH, {}, 429],
    [UPSERT, operator, 429],
    ["/api/tiles/tokens/", {}, 413],
    ["/v1/api_keys", operator, 413],
  ])("one that is announced as too long is refused by %s", async (path, headers, status) => {
    const answer = await answerToHeaders(path, { ...headers, "Content-Length": "5000000" });
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  });
});

const bomb = Buffer.alloc(4 << 20, Buffer.from([0x12, 0]));
const jsonBomb = Buffer.concat([Buffer.from('{"datasets":['), Buffer.alloc(1 << 20, "{},")]);

describe("an amplifying body", () => {
  test.each([
    ["plain", bomb, {}],
    ["gzip", gzipSync(bomb), { "content-encoding": "gzip" }],
  ])("from a stranger is refused whatever it holds (%s)", async (_name, body, headers) => {
    const init = { method: "POST", body: Uint8Array.from(body) };
    for (const path of managed) {
      const answer = await send(app, path, {
        ...init,
        headers: { "content-type": "application/proto", ...headers },
      });
      expect([path, answer.status]).toEqual([path, 401]);
    }
    const answer = await send(app, BATCH, {
      ...init,
      headers: { "content-type": "application/proto", ...headers },
    });
    expect(answer.status).toBe(429);
  });

  test.each([
    ["application/proto", bomb.subarray(0, 4 << 20)],
    ["application/json", jsonBomb],
  ])("from a manager is refused at its first item too many, naming the field (%s)", async (type, body) => {
    for (const [bytes, encoding] of [
      [body, "identity"],
      [gzipSync(body), "gzip"],
    ] as const) {
      const headers = { "content-type": type, "content-encoding": encoding, ...account.backend };
      const answer = await send(app, UPSERT, { method: "POST", headers, body: Uint8Array.from(bytes) });
      expect(answer.status, answer.text).toBe(400);
      expect(answer.body).toContain("datasets: must contain no more than 500 item(s)");
    }
    const grpc = await postGrpc(app, UPSERT, grpcFrame(gzipSync(bomb), { flags: 1 }), {
      "grpc-encoding": "gzip",
      ...account.backend,
    });
    expect(grpc.grpcStatus).toBe(Code.InvalidArgument);
  });

  test("in the URL of a GET is refused too: 12 kB of base64 inflate to no more than 64 KiB", async () => {
    const message = encodeURIComponent(gzipSync(bomb).toString("base64"));
    const query = `connect=v1&encoding=proto&base64=1&compression=gzip&message=${message}`;
    expect((await send(app, `${BATCH}?${query}`)).status).toBe(429);
  });
});

test("a message of 64 KiB is received, one byte more is not, over every protocol and whatever it inflates from", async () => {
  const padded = (size: number) => `{"datasetIds":["${"x".repeat(30_000)}","${"x".repeat(size - 30_022)}"]}`;
  const post = (body: Buffer | string, headers: Headers) =>
    send(app, BATCH, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: Uint8Array.from(Buffer.from(body)),
    });
  for (const [size, status] of [
    [65_536, 400],
    [65_537, 429],
  ] as const) {
    expect((await post(padded(size), {})).status).toBe(status);
    expect((await post(gzipSync(padded(size)), { "content-encoding": "gzip" })).status).toBe(status);
    const type = { "content-type": "application/grpc+json" };
    const plain = await postGrpc(app, BATCH, grpcFrame(Buffer.from(padded(size))), type);
    const zipped = await postGrpc(app, BATCH, grpcFrame(gzipSync(padded(size)), { flags: 1 }), {
      ...type,
      "grpc-encoding": "gzip",
    });
    const code = status === 400 ? Code.InvalidArgument : Code.ResourceExhausted;
    expect([plain.grpcStatus, zipped.grpcStatus]).toEqual([code, code]);
  }
});

test("health checks, of anybody, are a service's name and no more", async () => {
  const path = "/grpc.health.v1.Health/Check";
  const checkWith = (bytes: number, headers: Headers = {}) =>
    postGrpc(app, path, grpcFrame(Buffer.alloc(bytes)), headers);
  for (const bytes of [4_097, 65_536, 1 << 20]) {
    expect((await checkWith(bytes)).grpcStatus).toBe(Code.ResourceExhausted);
  }
  expect((await checkWith(0, { "x-api-key": "not asked for" })).grpcStatus).toBe(0);
  const watch = await postGrpc(app, "/grpc.health.v1.Health/Watch", grpcFrame(Buffer.alloc(65_536)));
  expect(watch.grpcStatus).toBe(Code.ResourceExhausted);
});

test("a client that goes on sending what is refused is told to stop, with its answer, over either protocol", async () => {
  const raw = await connectRaw(Number(new URL(app.url).port));
  raw.socket.write(`POST ${UPSERT} HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n`);
  raw.socket.write("Content-Type: application/json\r\n\r\n");
  expect(await raw.ended).toMatch(/^HTTP\/1\.1 401 .*connection: close/is);
  const answer = await postGrpc(app, UPSERT, grpcFrame(Buffer.alloc(3 << 20)));
  expect(answer.grpcStatus).toBe(Code.Unauthenticated);
});

test("a body that takes its time does not outlive the revocation of its credential", async () => {
  const { apiKeys, datasets } = app.useCases;
  const dataset = await datasets.create(OPERATOR, {
    ...aVectorDataset,
    tableName: "slow_bodies",
    accountId: account.id,
    visibility: "private",
  });
  // By the codecs and by the framework.
  for (const [path, type] of [
    [BATCH, "application/json"],
    [BATCH, "application/json; charset=utf-8"],
    ["/api/tiles/tokens/", "application/json"],
    ["/api/tiles/tokens/?plain", "application/json"],
  ]) {
    const { key, token } = await apiKeys.create(OPERATOR, { datasetIds: [dataset.id] }, account.id);
    const body = JSON.stringify({ dataset_ids: [dataset.id] });
    const raw = await connectRaw(Number(new URL(app.url).port));
    raw.socket.write(
      `POST ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Api-Key: ${token}\r\n` +
        `Content-Type: ${type}\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, -1)}`,
    );
    // The key was resolved and good when this arrived, which another request on a later connection proves.
    expect((await send(app, "/healthz")).status).toBe(200);
    await apiKeys.delete(OPERATOR, key.id);
    raw.socket.write("}");
    expect(await raw.ended).toMatch(/^HTTP\/1\.1 401 /);
  }
});

test("a client that would wait for longer than we do is served, over every protocol and every path", async () => {
  const [id = ""] = ["dadadada-0000-4000-8000-000000000001"];
  for (const protocol of PROTOCOLS) {
    const timeoutMs = { timeoutMs: 3_600_000 };
    const tokens = app.client(TileTokenService, {}, protocol);
    expect(await codeOf(tokens.getTileToken({ datasetId: id }, timeoutMs))).toBe("NotFound");
    await tokens.batchGetTileTokens({ datasetIds: [id] }, timeoutMs);
    await app.client(ApiKeyService, account.backend, protocol).listApiKeys({}, timeoutMs);
  }
  const malformed = await postGrpc(app, BATCH, grpcFrame(Buffer.alloc(0)), { "grpc-timeout": "1Y" });
  expect(malformed.grpcStatus).toBe(Code.InvalidArgument);
});

describe("a target that another program may read as another one is refused", () => {
  test.each([
    "/tiles/token/../../v1/api_keys",
    "/tiles/token/./x",
    "/tiles/token/%2e%2e/%2e%2e/v1/api_keys",
    "/tiles/token/.%2E/x",
    "/v1/api_keys/..",
    "/v1//api_keys",
    "//v1/api_keys",
    "/v1\\api_keys",
    "/v1%2fapi_keys",
    "/v1%5Capi_keys",
    "/v1/api_keys#x",
    "/v1/\u00e9",
  ])("%s", async (target) => {
    const raw = await connectRaw(Number(new URL(app.url).port));
    const origin = "Origin: https://evil.example\r\n";
    raw.socket.write(
      `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${origin}Authorization: ${account.backend.authorization}\r\n\r\n`,
      "latin1",
    );
    const answer = await raw.ended;
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).not.toMatch(/access-control-allow-origin/i);
  });

  test("but not one with dots and encoded letters that all read alike", async () => {
    for (const path of ["/a..b", "/.well-known/x", "/v1/api_keys/%41"]) {
      expect((await send(app, path, { headers: account.backend })).status).toBe(404);
    }
  });
});

test("two members of one name are refused on every path, as two programs would read two requests", async () => {
  const id = "dadadada-0000-4000-8000-000000000001";
  const twice = `{"dataset_ids":["${id}"],"dataset_ids":["${id}"]}`;
  const hidden = `{"dataset_ids":["${id}"],"dataset_id\\u0073":["${id}"]}`;
  const post = (path: string, body: string) =>
    send(app, path, {
      method: "POST",
      headers: { "content-type": "application/json", ...account.backend },
      body,
    });
  for (const body of [twice, hidden]) {
    const rpc = await post(BATCH, body);
    expect(rpc.status).toBe(400);
    expect(rpc.body).toContain("dataset_ids: is there twice");
    const rest = await post("/api/tiles/tokens/", body);
    expect(rest.status).toBe(422);
    expect(rest.body).toContain("dataset_ids: is there twice");
  }
  const query = new URLSearchParams({ connect: "v1", encoding: "json", message: twice });
  expect((await send(app, `${BATCH}?${query}`)).body).toContain("dataset_ids: is there twice");
  const settings = await post("/v1/api_keys", '{"name":"a","name":"b"}');
  expect([settings.status, JSON.parse(settings.body).field]).toEqual([422, "name"]);
  const verify = '{"token":"tgk_x","origin":"https://a.example","origin":""}';
  expect((await post("/tilegate.v1.ApiKeyService/VerifyApiKey", verify)).status).toBe(400);
});
