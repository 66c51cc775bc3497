import { once } from "node:events";
import { connect } from "node:http2";
import { create, type DescMethod, type MessageInitShape, toBinary, toJsonString } from "@bufbuild/protobuf";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { grpcFrame } from "../../harness/grpc-frame.mjs";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { generateSecret } from "../../src/domain/identity/secret.js";
import { ApiKeyService } from "../../src/gen/proto/tilegate/v1/api_key_service_pb.js";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import {
  aVectorDataset,
  type Headers,
  OPERATOR_TOKEN,
  operator,
  startTestApp,
  type TestApp,
} from "../harness/app.js";
import { connectRaw } from "../server/raw-client.js";

let app: TestApp;
let accountId: string;
let datasetId: string;
beforeAll(async () => {
  app = await startTestApp();
  accountId = (await app.useCases.accounts.create(OPERATOR, { name: "own" })).id;
  const input = { ...aVectorDataset, accountId, tableName: "roads" };
  datasetId = (await app.useCases.datasets.create(OPERATOR, input)).id;
});
afterAll(() => app[Symbol.asyncDispose]());

interface Answer {
  readonly status: unknown;
  readonly body: string;
  readonly requestId: string | undefined;
}

/** @param base Where the hot RPCs' codecs are, or not. */
type Door = (base: string, headers: Headers) => Promise<Answer>;

const overHttp =
  (path: () => string, init: RequestInit & { headers?: Headers } = {}): Door =>
  async (base, headers) => {
    const response = await fetch(base + path(), { ...init, headers: { ...init.headers, ...headers } });
    const requestId = response.headers.get("x-request-id") ?? undefined;
    return { status: response.status, body: await response.text(), requestId };
  };

const pathOf = ({ parent, name }: DescMethod) => `/${parent.typeName}/${name}`;

const post = (path: string, contentType: string, body: () => string | Uint8Array): Door => {
  const door: Door = (base, headers) => {
    const sent = body();
    const own = { method: "POST", body: typeof sent === "string" ? sent : Uint8Array.from(sent) };
    return overHttp(() => path, { ...own, headers: { "content-type": contentType } })(base, headers);
  };
  return door;
};

/** Every way to call a method of one message. */
function rpcDoors<Method extends DescMethod>(
  method: Method,
  init: () => MessageInitShape<Method["input"]>,
): Record<string, Door> {
  const message = () => create(method.input, init());
  const binary = () => toBinary(method.input, message());
  const json = () => toJsonString(method.input, message());
  const path = pathOf(method);
  return {
    [`${method.name}, Connect JSON`]: post(path, "application/json", json),
    [`${method.name}, Connect binary`]: post(path, "application/proto", binary),
    [`${method.name}, gRPC-Web`]: post(path, "application/grpc-web+proto", () => grpcFrame(binary())),
    [`${method.name}, gRPC`]: async (base, headers) => {
      const session = connect(base);
      const stream = session.request({
        ":method": "POST",
        ":path": path,
        "content-type": "application/grpc",
        te: "trailers",
        ...headers,
      });
      const received: Record<string, unknown> = {};
      stream.on("response", (fields) => Object.assign(received, fields));
      stream.on("trailers", (fields) => Object.assign(received, fields));
      const chunks: Buffer[] = [];
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.end(grpcFrame(binary()));
      await once(stream, "end");
      session.destroy();
      const { "x-request-id": requestId, date: _, ...rest } = received;
      return { status: rest, body: Buffer.concat(chunks).toString("base64"), requestId: String(requestId) };
    },
  };
}

const { batchGetTileTokens, getTileToken } = TileTokenService.method;

const DOORS: Record<string, Door> = {
  ...rpcDoors(batchGetTileTokens, () => ({ datasetIds: [datasetId] })),
  ...rpcDoors(getTileToken, () => ({ datasetId })),
  ...rpcDoors(ApiKeyService.method.verifyApiKey, () => ({ token: "tgk_x" })),
  ...rpcDoors(ApiKeyService.method.listApiKeys, () => ({ accountId })),
  "GetTileToken, Connect GET": overHttp(
    () =>
      `${pathOf(getTileToken)}?connect=v1&encoding=json&message=${encodeURIComponent(JSON.stringify({ datasetId }))}`,
  ),
  "GeoLens' batch": post("/api/tiles/tokens/", "application/json", () =>
    JSON.stringify({ dataset_ids: [datasetId] }),
  ),
  "GeoLens' token": overHttp(() => `/api/tiles/token/${datasetId}/`),
  "MapTiler's list": overHttp(() => "/v1/api_keys"),
  "MapTiler's creation": post("/v1/api_keys", "application/json", () => "{}"),
};

/** The status that tells: gRPC's, which over gRPC-Web stands in the body, else HTTP's. */
function refusalOf({ status, body }: Pick<Answer, "status" | "body"> = { status: 0, body: "" }): string {
  if (typeof status === "object" && status !== null) return String(Reflect.get(status, "grpc-status"));
  return /grpc-status: ?(\d+)/.exec(body)?.[1] ?? String(status);
}

describe.each(Object.entries(DOORS))("%s", (_name, ask) => {
  test.each<[string, () => Headers | Promise<Headers>]>([
    ["a malformed credential", () => ({ authorization: "x" })],
    ["a JWT that is none", () => ({ authorization: "Bearer x" })],
    ["an unknown service token", () => ({ authorization: `Token ${generateSecret("tgs_")}` })],
    ["an unknown API key", () => ({ "x-api-key": generateSecret("tgk_") })],
    ["a good credential and a bad one", () => ({ ...operator, "x-api-key": "tgk_x" })],
    [
      "a key that was used too often",
      async () => {
        const rateLimit = { requests: 1, windowSeconds: 60 };
        const { token } = await app.useCases.apiKeys.create(OPERATOR, { rateLimit }, accountId);
        const used = await fetch(`${app.url}/api/tiles/token/${datasetId}/?key=${token}`);
        expect(used.status).toBe(200);
        return { "x-api-key": token };
      },
    ],
  ])("%s is resolved once, and refused in the same words on either path", async (_what, credentials) => {
    const headers = await credentials();
    const answers = [];
    for (const base of [app.url, app.plainUrl]) {
      const before = app.service.authentications();
      const { requestId: _, ...answer } = await ask(base, headers);
      expect(app.service.authentications() - before).toBe(1);
      answers.push(answer);
    }
    expect(answers[0]).toEqual(answers[1]);
    expect(refusalOf(answers[0])).toMatch(/^(401|429|16|8)$/);
  });

  test("tells who called, how it ended and how it is named, in one line", async () => {
    app.log.splice(0);
    const { requestId } = await ask(app.url, { ...operator, "x-request-id": "from-the-edge:1" });
    expect(requestId).toBe("from-the-edge:1");
    const made = await ask(app.url, { authorization: "Bearer x" });
    expect(made.requestId).toMatch(/^[0-9a-f]{32}$/);
    const lines = await linesOf(2);
    expect(lines[0]).toMatchObject({ requestId, principal: "operator", durationMs: expect.any(Number) });
    expect(lines[0]).toMatchObject({ code: expect.stringMatching(/^(ok|200|invalid_argument|422)$/) });
    expect(lines[1]).toMatchObject({ requestId: made.requestId });
    expect(lines[1]).toMatchObject({ code: expect.stringMatching(/^(unauthenticated|401)$/) });
    expect(app.log.join()).not.toContain(OPERATOR_TOKEN);
  });
});

/** The lines of calls: a client may have its answer before they are written. */
async function linesOf(count: number): Promise<Record<string, unknown>[]> {
  const lines = () =>
    app.log.map((line) => JSON.parse(line)).filter(({ msg }) => msg === "rpc" || msg === "rest");
  while (lines().length < count) await new Promise((resolve) => setImmediate(resolve));
  expect(lines()).toHaveLength(count);
  return lines();
}

describe("one line for each call", () => {
  beforeEach(() => void app.log.splice(0));

  test.each<[string, () => Promise<unknown>, Record<string, unknown>]>([
    [
      "of an account's user, by RPC",
      async () =>
        DOORS["BatchGetTileTokens, Connect JSON"]?.(
          app.url,
          await app.user({ sub: "somebody", account: accountId }),
        ),
      { rpc: "tilegate.v1.TileTokenService/BatchGetTileTokens", code: "ok", principal: "user" },
    ],
    [
      "of nobody, by REST",
      () => app.fetch(`/tiles/token/${datasetId}`),
      { rest: "geolens.token", code: "200", principal: "anonymous" },
    ],
    ["to nowhere", () => app.fetch("/nowhere"), { rest: "unmatched", code: "404" }],
    [
      "in a wrong method",
      () => app.fetch("/v1/api_keys", { method: "PUT" }),
      { rest: "unmatched", code: "405" },
    ],
    ["to a malformed target", () => app.fetch("/a%2fb"), { rest: "malformed", code: "400" }],
    [
      "of an unknown RPC",
      () => app.fetch("/tilegate.v1.TileTokenService/Nothing", { method: "POST" }),
      { rpc: "unknown", code: "unimplemented" },
    ],
    [
      "that asks whether a page may call",
      () =>
        app.fetch("/api/tiles/tokens/", {
          method: "OPTIONS",
          headers: { origin: "https://maps.example.com", "access-control-request-method": "POST" },
        }),
      { rest: "unmatched", code: "204" },
    ],
    [
      "of a message that can't be read",
      () =>
        app.fetch(pathOf(batchGetTileTokens), {
          method: "POST",
          body: "{",
          headers: { "content-type": "application/json" },
        }),
      { rpc: "tilegate.v1.TileTokenService/BatchGetTileTokens", code: "http_400" },
    ],
    ["of a probe", () => app.fetch("/healthz"), { rest: "healthz", code: "200" }],
  ])("%s", async (_what, call, expected) => {
    await call();
    const [line] = await linesOf(1);
    expect(line).toMatchObject(expected);
  });

  test("of a client that went away", async () => {
    const raw = await connectRaw(Number(new URL(app.url).port));
    raw.socket.write(
      "POST /v1/api_keys HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n" +
        `Authorization: Bearer ${OPERATOR_TOKEN}\r\nExpect: 100-continue\r\n\r\n`,
    );
    await raw.receives("100 Continue");
    raw.socket.destroy();
    const [line] = await linesOf(1);
    expect(line).toMatchObject({ rest: "maptiler.create_key", code: "canceled" });
  });

  test("names it after no text that is not an id", async () => {
    for (const id of ["", "a b", "<script>", "x".repeat(129), "é"]) {
      const response = await app.fetch("/healthz", { headers: { "x-request-id": id } });
      expect(response.headers.get("x-request-id")).toMatch(/^[0-9a-f]{32}$/);
    }
  });
});

test.each(Object.entries(DOORS).filter(([name]) => /GetTileToken|GeoLens/.test(name)))(
  "%s resolves a caller who can't be remembered once, before the body and after it",
  async (_name, ask) => {
    const rateLimit = { requests: 1_000, windowSeconds: 60 };
    const { token } = await app.useCases.apiKeys.create(OPERATOR, { rateLimit }, accountId);
    for (const base of [app.url, app.plainUrl]) {
      const before = app.service.authentications();
      const { status } = await ask(base, { "x-api-key": token });
      expect(refusalOf({ status, body: "" })).toMatch(/^(200|0)$/);
      expect(app.service.authentications() - before).toBe(1);
    }
  },
);

test("a use of a key is counted once, however long its body takes", async () => {
  const rateLimit = { requests: 2, windowSeconds: 3_600 };
  const { token } = await app.useCases.apiKeys.create(OPERATOR, { rateLimit }, accountId);
  const body = JSON.stringify({ dataset_ids: [datasetId] });
  for (const status of [200, 200, 429]) {
    const raw = await connectRaw(Number(new URL(app.url).port));
    const before = app.service.authentications();
    raw.socket.write(
      `POST /api/tiles/tokens/ HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n` +
        `X-Api-Key: ${token}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n`,
    );
    if (status === 200) {
      await raw.receives("100 Continue");
      while (app.service.authentications() === before) await new Promise((resolve) => setImmediate(resolve));
      app.now = new Date(app.now.getTime() + 2_000);
      raw.socket.write(body);
    }
    await raw.receives(`HTTP/1.1 ${status}`);
    raw.socket.destroy();
  }
});
