import { gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { Metadata, type ServiceError } from "@grpc/grpc-js";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { grpcFrame } from "../../harness/grpc-frame.mjs";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { BatchUpsertDatasetsRequestSchema } from "../../src/gen/proto/tilegate/v1/dataset_service_pb.js";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { operator, PROTOCOLS, startTestApp, type TestApp } from "../harness/app.js";
import { callWithGrpcJs } from "../harness/grpc-js.js";
import { connectRaw } from "../server/raw-client.js";
import { postGrpc, type RawAnswer, send } from "./raw-requests.js";
import { badFields } from "./refusals.js";

const ID = "2489e9ad-2ee2-8e00-8ec9-32d5f69181c0";
const ACCOUNT = "acc0acc0-0000-4000-8000-000000000001";
const BATCH = "/tilegate.v1.TileTokenService/BatchGetTileTokens";
const GET = "/tilegate.v1.TileTokenService/GetTileToken";
const REST = "/api/tiles/tokens/";

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
  await app.useCases.accounts.create(OPERATOR, { id: ACCOUNT, name: "acme" });
});
afterAll(() => app[Symbol.asyncDispose]());

// After whatever a test sent, the service is as it was, and nothing was its own fault.
afterEach(async () => {
  const { tokens } = await app.client(TileTokenService).batchGetTileTokens({ datasetIds: [ID] });
  expect(tokens[ID]?.result.case).toBe("error");
  const ERROR_LEVEL = 50;
  expect(app.log.filter((line) => JSON.parse(line).level >= ERROR_LEVEL)).toEqual([]);
});

const post = (body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}): RequestInit => ({
  method: "POST",
  headers: { "content-type": "application/json", ...headers },
  body,
});

const connectGet = (message: string, path = BATCH) =>
  `${path}?connect=v1&encoding=json&message=${encodeURIComponent(message)}`;

/** No error may tell how the service is built, or be one that it did not expect. */
const INTERNALS = /node_modules|\bat \S+ \(|\.[cm]?[jt]s:\d|prisma|postgres|internal(%20| )error/i;
function expectNoInternals(answer: RawAnswer): void {
  expect(answer.text).not.toMatch(INTERNALS);
}

function expectRefusal(answer: RawAnswer, status: number, text: string | RegExp = ""): void {
  expect(answer.status, answer.text).toBe(status);
  expect(answer.text).toMatch(text);
  expectNoInternals(answer);
}

const malformed = (count: number) => Array.from({ length: count }, (_, i) => `malformed-${i}`);
const indices = (count: number) => Array.from({ length: count }, (_, i) => i);

const ID_LISTS: Record<string, { ids: string[]; fields: string[]; locs: (string | number)[][] }> = {
  "no id": { ids: [], fields: ["dataset_ids"], locs: [["body", "dataset_ids"]] },
  "51 ids": { ids: Array(51).fill(ID), fields: ["dataset_ids"], locs: [["body", "dataset_ids"]] },
  "1,500 ids": { ids: Array(1_500).fill(ID), fields: ["dataset_ids"], locs: [["body", "dataset_ids"]] },
  "a malformed id": {
    ids: [ID, `{${ID}}`, ID.replaceAll("-", "")],
    fields: ["dataset_ids[1]", "dataset_ids[2]"],
    locs: [1, 2].map((index) => ["body", "dataset_ids", index]),
  },
  "50 malformed ids": {
    ids: malformed(50),
    fields: indices(50).map((index) => `dataset_ids[${index}]`),
    locs: indices(50).map((index) => ["body", "dataset_ids", index]),
  },
};

describe.each(Object.entries(ID_LISTS))("%s", (_name, { ids, fields, locs }) => {
  test.each(PROTOCOLS)("is refused over %s, naming each bad field", async (protocol) => {
    const call = app.client(TileTokenService, {}, protocol).batchGetTileTokens({ datasetIds: ids });
    const error = await call.then(() => undefined, ConnectError.from);
    if (protocol === "connect-get" && ids.length > 1_000) {
      // 60 KB of request line: refused as such.
      expect(error).toBeInstanceOf(ConnectError);
      return;
    }
    expect(await badFields(Promise.reject(error))).toEqual(fields);
  });

  test("is refused over REST, naming each bad field", async () => {
    const answer = await send(app, REST, post(JSON.stringify({ dataset_ids: ids })));
    expectRefusal(answer, 422);
    const { detail } = JSON.parse(answer.body) as {
      detail: { loc: unknown; msg: unknown; input: unknown }[];
    };
    expect(detail.map(({ loc }) => loc)).toEqual(locs);
  });
});

test("more ids than 64 KiB hold are refused for their size, whatever they are", async () => {
  for (const protocol of PROTOCOLS.filter((each) => each !== "connect-get")) {
    const call = app.client(TileTokenService, {}, protocol).batchGetTileTokens({
      datasetIds: Array(10_000).fill(ID),
    });
    const error = await call.then(() => undefined, ConnectError.from);
    expect([protocol, error?.code]).toEqual([protocol, Code.ResourceExhausted]);
  }
  expectRefusal(await send(app, REST, post(JSON.stringify({ dataset_ids: Array(10_000).fill(ID) }))), 413);
});

test("a gRPC client hears about all of 50 malformed ids within the 8 KiB that it takes of trailers", async () => {
  const call = callWithGrpcJs(app.url, "BatchGetTileTokens", { dataset_ids: malformed(50) });
  const error = (await call.catch((failure: unknown) => failure)) as ServiceError;
  expect(error.code).toBe(Code.InvalidArgument);
  expect(error.metadata).toBeInstanceOf(Metadata);
  const [details = ""] = error.metadata.get("grpc-status-details-bin");
  const trailers = Buffer.from(details).toString("base64").length + encodeURIComponent(error.details).length;
  expect(trailers).toBeLessThan(8_000);
});

test("the most and longest violations that a batch of datasets can have are cut to what trailers hold", async () => {
  const worst = {
    tableName: "%".repeat(100),
    readerRoles: Array(100).fill("é".repeat(65)),
    readerSubjects: Array(100).fill(""),
    raster: { format: "\u0001".repeat(100), bounds: [Number.NaN] },
  };
  const message = create(BatchUpsertDatasetsRequestSchema, { datasets: Array(20).fill(worst) });
  const body = grpcFrame(toBinary(BatchUpsertDatasetsRequestSchema, message));
  const path = "/tilegate.v1.DatasetService/BatchUpsertDatasets";
  const { grpcStatus, headers } = await postGrpc(app, path, body, operator);
  expect(grpcStatus).toBe(Code.InvalidArgument);
  const trailers = Object.entries(headers).reduce(
    (sum, [name, value = ""]) => sum + name.length + value.length,
    0,
  );
  expect(trailers).toBeLessThan(8_000);
  expect(trailers).toBeGreaterThan(4_000);
});

const brackets = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
const bytes = (...values: number[]) => Uint8Array.from(values);
const utf8 = (text: string) => Uint8Array.from(Buffer.from(text));

describe("a hostile JSON body", () => {
  test.each<[string, string | Uint8Array<ArrayBuffer>, number]>([
    ["null", "null", 422],
    ["a number", "7", 422],
    ["a string", '"x"', 422],
    ["an array", "[]", 422],
    ["nothing", "", 422],
    ["truncated", '{"dataset_ids":["', 400],
    ["10,000 open brackets", "[".repeat(10_000), 400],
    ["10,000 nested arrays", brackets(10_000), 400],
    ["10,000 nested arrays in place of an id", `{"dataset_ids":[${brackets(10_000)}]}`, 400],
    ["a string for the list", `{"dataset_ids":"${ID}"}`, 422],
    ["null for the list", '{"dataset_ids":null}', 422],
    ["null for an id", '{"dataset_ids":[null]}', 422],
    ["nested garbage for ids", '{"dataset_ids":[{"a":[1]},[2],3,true]}', 422],
    ["a prototype", `{"__proto__":{"dataset_ids":["${ID}"]}}`, 422],
    ["a lone surrogate", '{"dataset_ids":["\\ud800"]}', 422],
    ["invalid UTF-8", new Uint8Array([...utf8('{"dataset_ids":["'), 0xff, 0xfe, ...utf8('"]}')]), 400],
  ])("%s is refused over Connect and REST", async (_name, body, restStatus) => {
    expectRefusal(await send(app, BATCH, post(body)), 400, '"code":"invalid_argument"');
    expectRefusal(await send(app, REST, post(body)), restStatus, '"detail"');
    if (typeof body !== "string" || body.length > 5_000) return;
    expectRefusal(await send(app, connectGet(body)), 400, '"code":"invalid_argument"');
  });

  test("an unknown field is refused over Connect and, as GeoLens does, ignored over REST", async () => {
    const body = JSON.stringify({ dataset_ids: [ID], extra: 1 });
    expectRefusal(await send(app, BATCH, post(body)), 400, "extra");
    expect((await send(app, REST, post(body))).status).toBe(200);
  });

  test("one that is too large is refused, and the connection still answers", async () => {
    const large = (size: number) => JSON.stringify({ dataset_ids: ["x".repeat(size)] });
    expectRefusal(await send(app, REST, post(large(64 * 1024))), 413, "65536 bytes");
    expectRefusal(await send(app, REST, post(large(5_000_000))), 413);
    expectRefusal(await send(app, BATCH, post(large(64 * 1024))), 429, '"code":"resource_exhausted"');
    expectRefusal(await send(app, BATCH, post(large(5_000_000))), 429, '"code":"resource_exhausted"');
    const path = "/tilegate.v1.DatasetService/BatchUpsertDatasets";
    expectRefusal(await send(app, path, post(large(4 * 1024 * 1024), operator)), 429, "resource_exhausted");
  });

  test("one that inflates beyond the limit is refused without being inflated whole", async () => {
    const bomb = Uint8Array.from(gzipSync(Buffer.alloc(50_000_000, " ")));
    const gzip = { "content-encoding": "gzip" };
    expectRefusal(await send(app, BATCH, post(bomb, gzip)), 429, '"code":"resource_exhausted"');
    expectRefusal(await send(app, REST, post(bomb, gzip)), 400);
    expectRefusal(await send(app, BATCH, post("{}", gzip)), 400, "decompression failed");
    const cutOff = Uint8Array.from(gzipSync("{}").subarray(0, 15));
    expectRefusal(await send(app, BATCH, post(cutOff, gzip)), 400, "decompression failed");
    expectRefusal(await send(app, BATCH, post(bytes(0), gzip)), 400, "decompression failed");
    expectRefusal(await send(app, BATCH, post("{}", { "content-encoding": "x" })), 501, "unimplemented");
    const answer = await postGrpc(app, BATCH, grpcFrame(bomb, { flags: 1 }), { "grpc-encoding": "gzip" });
    expect(answer.grpcStatus).toBe(Code.ResourceExhausted);
  });
});

describe("a hostile binary message", () => {
  const messages: [string, Uint8Array<ArrayBuffer>, grpcCode: Code][] = [
    ["garbage", bytes(0xff, 0xff, 0xff, 0x80), Code.Internal],
    ["truncated", bytes(0x0a, 36, 0x32), Code.Internal],
    ["invalid UTF-8", bytes(0x0a, 2, 0xff, 0xfe), Code.Internal],
    ["a wire type that there isn't", bytes(0x0f), Code.InvalidArgument],
    ["a group", bytes(0x1b, 0x08, 0, 0x1c), Code.InvalidArgument],
    ["nested groups", new Uint8Array(60_000).fill(0x1b, 0, 30_000).fill(0x1c, 30_000), Code.InvalidArgument],
  ];

  test.each(messages)("%s is refused", async (_name, message, grpcCode) => {
    const proto = post(message, { "content-type": "application/proto" });
    expectRefusal(await send(app, BATCH, proto), 400, '"code":"invalid_argument"');
    const query = `connect=v1&encoding=proto&base64=1&message=${Buffer.from(message).toString("base64url")}`;
    if (message.length < 100) expectRefusal(await send(app, `${BATCH}?${query}`), 400, "invalid_argument");
    const grpc = await postGrpc(app, BATCH, grpcFrame(message));
    expect(grpc.grpcStatus).toBe(grpcCode);
    expectNoInternals(grpc);
    const web = await send(
      app,
      BATCH,
      post(Uint8Array.from(grpcFrame(message)), { "content-type": "application/grpc-web+proto" }),
    );
    expect(web.grpcStatus).toBe(grpcCode);
    expectNoInternals(web);
  });

  const empty = grpcFrame(bytes());
  test.each<[string, Buffer, Record<string, string>, Code]>([
    ["longer than its body", grpcFrame(bytes(1, 2, 3), { length: 100 }), {}, Code.InvalidArgument],
    ["said to have 4 GiB", grpcFrame(bytes(1), { length: 0xffffffff }), {}, Code.ResourceExhausted],
    ["above the limit", grpcFrame(new Uint8Array(65_537)), {}, Code.ResourceExhausted],
    ["without a whole prefix", Buffer.from([0, 0]), {}, Code.InvalidArgument],
    ["missing", Buffer.alloc(0), {}, Code.Unimplemented],
    ["sent twice", Buffer.concat([empty, empty]), {}, Code.Unimplemented],
    ["compressed by nothing", grpcFrame(bytes(1), { flags: 1 }), {}, Code.Internal],
    ["compressed by the unknown", empty, { "grpc-encoding": "x" }, Code.Unimplemented],
    ["with a malformed deadline", empty, { "grpc-timeout": "x" }, Code.InvalidArgument],
  ])("a gRPC message %s is refused", async (_name, body, headers, code) => {
    const answer = await postGrpc(app, BATCH, body, headers);
    expect(answer).toMatchObject({ status: 200, grpcStatus: code });
    expectNoInternals(answer);
  });
});

describe("a request for what is not there", () => {
  test.each(["/tilegate.v1.TileTokenService/Nothing", "/tilegate.v1.Nothing/Get", "/a.B/c"])(
    "RPC %s is unimplemented",
    async (path) => {
      expectRefusal(await send(app, path, post("{}")), 404, '"code":"unimplemented"');
      const grpc = await postGrpc(app, path, grpcFrame(bytes()));
      expect(grpc).toMatchObject({ status: 200, grpcStatus: Code.Unimplemented });
      const web = await send(app, path, post("", { "content-type": "application/grpc-web+proto" }));
      expect(web).toMatchObject({ status: 200, grpcStatus: Code.Unimplemented });
    },
  );

  test.each([
    ...["/", "/nothing", "/api", "/api/tiles", "/api/api/tiles/tokens", "/API/tiles/tokens"],
    ...["/tiles/token", "/tiles/token/", "/tilegate.v1.TileTokenService", "/%00"],
  ])("%s is not found", async (path) => {
    expectRefusal(await send(app, path), 404, '"status":404');
    expectRefusal(await send(app, path, post("{}")), 404, '"status":404');
  });

  test.each([
    [REST, ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"], "POST"],
    [`/api/tiles/token/${ID}/`, ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"], "GET"],
    ["/healthz", ["POST", "DELETE"], "GET"],
    [GET, ["PUT", "DELETE", "OPTIONS"], "POST, GET"],
    ["/tilegate.v1.TileTokenService/VerifyTileToken", ["GET", "PUT"], "POST"],
  ])("%s with a wrong method tells the right ones", async (path, methods, allow) => {
    for (const method of methods) {
      const answer = await send(app, path, { method });
      expectRefusal(answer, 405);
      expect(answer.headers.allow).toBe(allow);
    }
  });

  test.each(["text/plain", "application/xml", "multipart/form-data", "application/json; charset=utf-16", ""])(
    "an RPC with content type '%s' is not supported",
    async (type) => expectRefusal(await send(app, BATCH, post("{}", { "content-type": type })), 415),
  );
});

describe("a malformed request", () => {
  test("of percent-encoding, base64 or Connect's parameters is refused", async () => {
    for (const encoded of ["%ZZ", "%ff%fe", "%"]) {
      expectRefusal(await send(app, `/api/tiles/token/${encoded}/`), 400);
    }
    expectRefusal(await send(app, "/api/tiles/token/not-a-uuid/"), 422, '"path","dataset_id"');
    expectRefusal(await send(app, `${GET}?connect=v1&encoding=json&message=%ZZ`), 400, "invalid_argument");
    expectRefusal(await send(app, `${GET}?connect=v1&encoding=proto&base64=1&message=!!!!`), 400, "base64");
    expectRefusal(await send(app, `${GET}?connect=v1&encoding=xml&message=x`), 415);
    expectRefusal(await send(app, GET), 415);
    expectRefusal(await send(app, BATCH, post("{}", { "connect-timeout-ms": "x" })), 400, "invalid_argument");
  });

  const head = (line: string, host = "Host: x\r\n") => `${line} HTTP/1.1\r\n${host}Connection: close\r\n\r\n`;
  const withHost = (host: string) => head(`GET ${connectGet("{}")}`, `Host: ${host}\r\n`);
  test.each([
    ["//evil.example/api", head("GET //evil.example/api/tiles/tokens/"), 400],
    ["//healthz", head("GET //healthz"), 400],
    ["another server's URL", head("GET http://evil.example/healthz"), 400],
    ["an asterisk", head("OPTIONS *"), 400],
    ["dot segments", head("GET /../../etc/passwd"), 400],
    ["two hosts", head("GET /healthz", "Host: x\r\nHost: y\r\n"), 400],
    ["no Host", head("GET /healthz", ""), 400],
    ["an empty Host for an RPC", withHost(""), 400],
    ["a Host that does not parse for an RPC", withHost("[::1"), 400],
    ["a Host with a path for an RPC", withHost("a/b?c"), 400],
    ["HTTP/1.0 for an RPC", `POST ${BATCH} HTTP/1.0\r\nContent-Type: application/json\r\n\r\n`, 400],
    [
      "two lengths",
      `POST ${REST} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}`,
      400,
    ],
    [
      "a request smuggled by both lengths",
      `POST ${REST} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
    ],
    ["a header of 20 KiB", head("GET /healthz", `Host: x\r\nX: ${"x".repeat(20_000)}\r\n`), 431],
  ])("%s is answered, as HTTP has it", async (_name, text, status) => {
    const connection = await connectRaw(Number(new URL(app.url).port));
    connection.socket.write(text);
    const answer = await connection.ended;
    expect(answer.split(" ", 2)).toEqual(["HTTP/1.1", String(status)]);
    expect(answer).not.toMatch(INTERNALS);
  });
});
