import { execFileSync } from "node:child_process";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { DatasetInput } from "../../src/domain/datasets/dataset-rules.js";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import {
  TileTokenErrorCode,
  TileTokenInvalidReason,
  type TileTokenResult,
} from "../../src/gen/proto/tilegate/v1/tile_token_pb.js";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import {
  aVectorDataset,
  type Headers,
  NOW,
  operator,
  PROTOCOLS,
  SIGNING_KEY,
  startEmbeddedTestApp,
  type TestApp,
} from "../harness/app.js";
import { callWithGrpcJs } from "../harness/grpc-js.js";

const ACCOUNT = "acc0acc0-0000-4000-8000-000000000001";
const VECTOR = "dadadada-0000-4000-8000-000000000001";
const RASTER = "dadadada-0000-4000-8000-000000000002";
const RASTER_ELSEWHERE = "dadadada-0000-4000-8000-000000000003";
const PRIVATE = "dadadada-0000-4000-8000-000000000004";
const DRAFT = "dadadada-0000-4000-8000-000000000005";
const UNKNOWN = "dadadada-0000-4000-8000-00000000ffff";
const BATCH = "/tilegate.v1.TileTokenService/BatchGetTileTokens";
const RPC_GET = "/tilegate.v1.TileTokenService/GetTileToken";

const EXP = 1_800_000_900;
const EXPIRES_IN = EXP - NOW.getTime() / 1000;

const raster = { ...aVectorDataset, kind: "raster" } as const;
const DATASETS: DatasetInput[] = [
  { ...aVectorDataset, id: VECTOR, tableName: "roads" },
  { ...raster, id: RASTER },
  {
    ...raster,
    id: RASTER_ELSEWHERE,
    cacheVersion: 7,
    raster: {
      tileUrlTemplate: "https://tiles.example.com/{z}/{x}/{y}.webp?style=dark",
      bounds: [-10.5, 40, 4.25, 51],
      minzoom: 2,
      maxzoom: 9,
      tileSize: 512,
      format: "webp",
    },
  },
  { ...aVectorDataset, id: PRIVATE, tableName: "secrets", visibility: "private", owner: "olga" },
  { ...aVectorDataset, id: DRAFT, tableName: "drafts", status: "draft" },
];

async function startWithDatasets(env: Record<string, string> = {}): Promise<TestApp> {
  const app = await startEmbeddedTestApp(env);
  await app.useCases.accounts.create(OPERATOR, { id: ACCOUNT, name: "acme" });
  await app.useCases.datasets.upsert(OPERATOR, ACCOUNT, DATASETS);
  return app;
}

/** The signature as anybody with a shell computes it. */
function opensslHmac(message: string, key: string): string {
  const output = execFileSync("openssl", ["dgst", "-sha256", "-hmac", key], { input: message });
  return output.toString().trim().replace(/^.*= /, "");
}

type Tokens = Record<string, unknown>;
type Door = (app: TestApp, ids: string[], headers?: Headers) => Promise<Tokens>;

/** A typed outcome as the REST door writes it, but for errors, whose code only RPCs have. */
function plain({ result }: TileTokenResult): unknown {
  if (result.case === "error") return { error: result.value.message };
  if (result.case === "vector") {
    const { sig, exp, scope, expiresIn } = result.value;
    return { kind: "vector", sig, exp, scope, expires_in: expiresIn };
  }
  if (result.case === undefined) throw new Error("an outcome without a member");
  const { sig, exp, scope, expiresIn, tileUrl, bounds, minzoom, maxzoom, tileSize, format } = result.value;
  return {
    kind: "raster",
    ...{ sig, exp, scope, expires_in: expiresIn, tile_url: tileUrl },
    ...{ bounds: bounds.length === 0 ? null : bounds, minzoom, maxzoom, tile_size: tileSize, format },
  };
}

const json = (body: unknown, headers: Headers = {}): RequestInit => ({
  method: "POST",
  headers: { "content-type": "application/json", ...headers },
  body: JSON.stringify(body),
});

const restDoor =
  (path: string): Door =>
  async (app, ids, headers) => {
    const response = await app.fetch(path, json({ dataset_ids: ids }, headers));
    expect(response.status).toBe(200);
    const body = (await response.json()) as { tokens: Tokens };
    expect(Object.keys(body)).toEqual(["tokens"]);
    return body.tokens;
  };

const DOORS: Record<string, Door> = {
  ...Object.fromEntries(
    PROTOCOLS.map((protocol): [string, Door] => [
      protocol,
      async (app, datasetIds, headers) => {
        const client = app.client(TileTokenService, headers, protocol);
        const { tokens } = await client.batchGetTileTokens({ datasetIds });
        return Object.fromEntries(Object.entries(tokens).map(([id, result]) => [id, plain(result)]));
      },
    ]),
  ),
  "@grpc/grpc-js": async (app, dataset_ids, headers) => {
    type Result = { result: string; error?: { message: string } } & Record<string, Record<string, unknown>>;
    const response = await callWithGrpcJs<{ tokens: Record<string, Result> }>(
      app.url,
      "BatchGetTileTokens",
      { dataset_ids },
      headers,
    );
    return Object.fromEntries(
      Object.entries(response.tokens).map(([id, result]) => {
        if (result.error) return [id, { error: result.error.message }];
        const { _minzoom, _maxzoom, ...token } = result[result.result] ?? {};
        if (result.result === "vector") return [id, { kind: "vector", ...token }];
        const bounds = Array.isArray(token.bounds) && token.bounds.length > 0 ? token.bounds : null;
        return [id, { kind: "raster", ...token, bounds }];
      }),
    );
  },
  "REST /api/tiles/tokens/": restDoor("/api/tiles/tokens/"),
  "REST /api/tiles/tokens": restDoor("/api/tiles/tokens"),
  "REST /tiles/tokens/": restDoor("/tiles/tokens/"),
  "REST /tiles/tokens": restDoor("/tiles/tokens"),
};

let app: TestApp;
beforeAll(async () => {
  app = await startWithDatasets();
});
afterAll(() => app[Symbol.asyncDispose]());
afterEach(() => {
  app.now = NOW;
});

describe.each(Object.entries(DOORS))("a batch over %s", (_name, ask) => {
  test("returns signed tokens, and errors for single datasets", async () => {
    const tokens = await ask(app, [VECTOR, RASTER, RASTER_ELSEWHERE, PRIVATE, DRAFT, UNKNOWN]);
    const sig = (scope: string) => opensslHmac(`${scope}:${EXP}`, SIGNING_KEY);
    const query = (scope: string) => `sig=${sig(scope)}&exp=${EXP}&scope=${scope}`;
    const signed = (scope: string) => ({ sig: sig(scope), exp: EXP, scope, expires_in: EXPIRES_IN });
    expect(tokens).toEqual({
      [VECTOR]: { kind: "vector", ...signed("roads") },
      [RASTER]: {
        kind: "raster",
        ...signed(RASTER),
        tile_url: `/raster-tiles/${RASTER}/tiles/{z}/{x}/{y}.png?${query(RASTER)}&v=1`,
        bounds: null,
        minzoom: 0,
        maxzoom: 18,
        tile_size: 256,
        format: "png",
      },
      [RASTER_ELSEWHERE]: {
        kind: "raster",
        ...signed(RASTER_ELSEWHERE),
        tile_url: `https://tiles.example.com/{z}/{x}/{y}.webp?style=dark&${query(RASTER_ELSEWHERE)}&v=7`,
        bounds: [-10.5, 40, 4.25, 51],
        minzoom: 2,
        maxzoom: 9,
        tile_size: 512,
        format: "webp",
      },
      [PRIVATE]: { error: "Sign in to see this dataset" },
      [DRAFT]: { error: "Dataset not found" },
      [UNKNOWN]: { error: "Dataset not found" },
    });
  });

  test("counts an id once, whatever its case, and answers by the lower-case one", async () => {
    const tokens = await ask(app, [VECTOR.toUpperCase(), VECTOR, VECTOR, RASTER.toUpperCase()]);
    expect(Object.keys(tokens).sort()).toEqual([VECTOR, RASTER]);
  });

  test("grants by the caller's credential", async () => {
    const tokens = await ask(app, [PRIVATE, DRAFT], await app.user({ sub: "olga", account: "acme" }));
    expect(tokens).toMatchObject({
      [PRIVATE]: { kind: "vector", scope: "secrets" },
      [DRAFT]: { error: "Dataset not found" },
    });
  });

  test("takes 50 ids", async () => {
    const ids = Array.from({ length: 50 }, (_, i) => VECTOR.slice(0, -2) + String(i + 10));
    expect(Object.keys(await ask(app, ids))).toHaveLength(50);
  });
});

test("51 copies of one id are refused: the limit counts ids as sent", async () => {
  const ids = Array(51).fill(VECTOR);
  for (const protocol of PROTOCOLS) {
    const call = app.client(TileTokenService, {}, protocol).batchGetTileTokens({ datasetIds: ids });
    await expect(call).rejects.toMatchObject({ code: Code.InvalidArgument });
  }
  const response = await app.fetch("/api/tiles/tokens/", json({ dataset_ids: ids }));
  expect(response.status).toBe(422);
  expect(await response.json()).toMatchObject({
    detail: [{ type: "too_long", loc: ["body", "dataset_ids"] }],
  });
});

test("Connect JSON writes numbers as numbers, zeros too, and leaves unknown bounds out", async () => {
  const response = await app.fetch(BATCH, json({ datasetIds: [VECTOR, RASTER, UNKNOWN] }));
  const { tokens } = (await response.json()) as { tokens: Tokens };
  expect(tokens).toEqual({
    [VECTOR]: { vector: { sig: expect.any(String), exp: EXP, scope: "roads", expiresIn: EXPIRES_IN } },
    [RASTER]: { raster: expect.objectContaining({ exp: EXP, minzoom: 0, maxzoom: 18, tileSize: 256 }) },
    [UNKNOWN]: { error: { code: "TILE_TOKEN_ERROR_CODE_NOT_FOUND", message: "Dataset not found" } },
  });
  expect(tokens[RASTER]).not.toHaveProperty("raster.bounds");
});

test("an error in a batch carries its code", async () => {
  const ids = [PRIVATE, UNKNOWN];
  const codes = async (headers: Headers) => {
    const { tokens } = await app.client(TileTokenService, headers).batchGetTileTokens({ datasetIds: ids });
    return ids.map((id) => (tokens[id]?.result.case === "error" ? tokens[id].result.value.code : "token"));
  };
  const { NOT_FOUND, PERMISSION_DENIED, UNAUTHENTICATED } = TileTokenErrorCode;
  expect(await codes({})).toEqual([UNAUTHENTICATED, NOT_FOUND]);
  expect(await codes(await app.user({ sub: "eve", account: ACCOUNT }))).toEqual([
    PERMISSION_DENIED,
    NOT_FOUND,
  ]);
  expect(await codes(operator)).toEqual(["token", NOT_FOUND]);
});

describe("a token for one dataset", () => {
  const paths = (id: string) => [
    `/api/tiles/token/${id}/`,
    `/api/tiles/token/${id}`,
    `/tiles/token/${id}/`,
    `/tiles/token/${id}`,
  ];

  test("equals the batch's, over every door", async () => {
    const batch = await restDoor("/api/tiles/tokens/")(app, [VECTOR, RASTER]);
    for (const id of [VECTOR, RASTER]) {
      for (const path of [...paths(id), ...paths(id.toUpperCase())]) {
        const response = await app.fetch(path);
        expect(response.status).toBe(200);
        expect(await response.json()).toEqual(batch[id]);
      }
      for (const protocol of PROTOCOLS) {
        const client = app.client(TileTokenService, {}, protocol);
        const { token } = await client.getTileToken({ datasetId: id.toUpperCase() });
        expect(plain({ $typeName: "tilegate.v1.TileTokenResult", result: token })).toEqual(batch[id]);
      }
    }
  });

  test.each([
    ["without a credential", PRIVATE, undefined, Code.Unauthenticated, 401],
    ["for a user who may not", PRIVATE, { sub: "eve", account: ACCOUNT }, Code.PermissionDenied, 403],
    ["for another account's user", PRIVATE, { sub: "olga", account: UNKNOWN }, Code.NotFound, 404],
    ["of a draft", DRAFT, undefined, Code.NotFound, 404],
    ["of nothing", UNKNOWN, undefined, Code.NotFound, 404],
  ])("is refused %s by the call's own status", async (_case, datasetId, claims, code, status) => {
    const headers = claims ? await app.user(claims) : {};
    for (const protocol of PROTOCOLS) {
      const call = app.client(TileTokenService, headers, protocol).getTileToken({ datasetId });
      await expect(call).rejects.toMatchObject({ code });
    }
    for (const path of paths(datasetId)) {
      const response = await app.fetch(path, { headers });
      expect(response.status).toBe(status);
      expect(response.headers.get("content-type")).toBe("application/problem+json");
      expect(await response.json()).toMatchObject({ status, detail: expect.any(String) });
    }
  });
});

test("neither answers nor errors may be cached", async () => {
  const message = encodeURIComponent(JSON.stringify({ datasetId: VECTOR }));
  const get = (query: string) => `${RPC_GET}?encoding=json&connect=v1&message=${query}`;
  const requests: [number, string, RequestInit?][] = [
    [200, "/api/tiles/tokens/", json({ dataset_ids: [VECTOR] })],
    [422, "/api/tiles/tokens/", json({ dataset_ids: [] })],
    [401, "/api/tiles/tokens/", json({ dataset_ids: [VECTOR] }, { authorization: "Bearer x" })],
    [200, `/api/tiles/token/${VECTOR}/`],
    [401, `/api/tiles/token/${PRIVATE}/`],
    [404, `/api/tiles/token/${UNKNOWN}/`],
    [405, "/api/tiles/tokens/"],
    [404, "/nothing/here"],
    [200, BATCH, json({ datasetIds: [VECTOR] })],
    [400, BATCH, json({ datasetIds: [] })],
    [400, BATCH, { ...json({}), body: "{" }],
    [200, get(message)],
    [400, get("%7B")],
    [404, "/tilegate.v1.TileTokenService/Nothing", json({})],
  ];
  for (const [status, path, init] of requests) {
    const response = await app.fetch(path, init);
    expect([path, response.status]).toEqual([path, status]);
    expect(response.headers.get("cache-control")).toBe("private, no-store");
  }
});

describe("the lifetime of a token", () => {
  test.each([
    ["at the beginning of a window", 1_800_000_000, 1_800_000_900],
    ["a minute before the boundary", 1_800_000_840, 1_800_000_900],
    ["59 s before the boundary", 1_800_000_841, 1_800_001_800],
    ["a second before the boundary", 1_800_000_899, 1_800_001_800],
    ["at the boundary", 1_800_000_900, 1_800_001_800],
  ])("%s is at least a minute", async (_case, nowSeconds, exp) => {
    app.now = new Date(nowSeconds * 1000 + 999);
    const tokens = await restDoor("/api/tiles/tokens/")(app, [VECTOR]);
    expect(tokens[VECTOR]).toMatchObject({ exp, expires_in: exp - nowSeconds });
  });
});

describe("verifying a token", () => {
  async function mint(from: TestApp) {
    const { token } = await from.client(TileTokenService).getTileToken({ datasetId: VECTOR });
    if (token.case !== "vector") throw new Error("no vector token");
    const { sig, exp, scope } = token.value;
    return { sig, exp, scope };
  }

  test("tells that it is valid until it expires", async () => {
    const client = app.client(TileTokenService);
    const token = await mint(app);
    expect(await client.verifyTileToken(token)).toMatchObject({ valid: true, expiresIn: EXPIRES_IN });
    app.now = new Date(EXP * 1000 - 1);
    expect(await client.verifyTileToken(token)).toMatchObject({ valid: true, expiresIn: 1 });
    app.now = new Date(EXP * 1000);
    const expired = { valid: false, reason: TileTokenInvalidReason.EXPIRED, expiresIn: 0 };
    expect(await client.verifyTileToken(token)).toMatchObject(expired);
    expect(await client.verifyTileToken({ ...token, sig: "0".repeat(64) })).toMatchObject(expired);
  });

  test("refuses what was not signed so: another scope, expiry or signature", async () => {
    const token = await mint(app);
    const forged = [
      { ...token, sig: token.sig.replace(/^./, (digit) => (digit === "0" ? "1" : "0")) },
      { ...token, sig: token.sig.toUpperCase() },
      { ...token, sig: token.sig.slice(0, -1) },
      { ...token, sig: "é".repeat(64) },
      { ...token, scope: "secrets" },
      { ...token, scope: "Roads" },
      { ...token, exp: token.exp + 900 },
    ];
    for (const attempt of forged) {
      const verdict = await app.client(TileTokenService).verifyTileToken(attempt);
      expect(verdict).toMatchObject({ valid: false, reason: TileTokenInvalidReason.SIGNATURE });
    }
  });

  test("accepts the retired key's tokens after a rotation, and signs with the new key", async () => {
    const old = await mint(app);
    const newKey = "the-new-signing-key";
    await using rotated = await startWithDatasets({ TILE_SIGNING_KEYS: `${newKey},${SIGNING_KEY}` });
    const fresh = await mint(rotated);
    expect(fresh.sig).toBe(opensslHmac(`roads:${EXP}`, newKey));
    for (const token of [old, fresh]) {
      expect(await rotated.client(TileTokenService).verifyTileToken(token)).toMatchObject({ valid: true });
    }
    expect(await app.client(TileTokenService).verifyTileToken(fresh)).toMatchObject({ valid: false });
  });
});

test("with TENANCY=multi a scope names its account", async () => {
  await using multi = await startWithDatasets({ TENANCY: "multi" });
  const other = "acc0acc0-0000-4000-8000-000000000002";
  await multi.useCases.accounts.create(OPERATOR, { id: other, name: "other" });
  await multi.useCases.datasets.upsert(OPERATOR, other, [
    { ...aVectorDataset, id: DRAFT.replace("5", "6"), tableName: "roads" },
  ]);
  const tokens = await restDoor("/api/tiles/tokens/")(multi, [VECTOR, RASTER, DRAFT.replace("5", "6")]);
  const signed = (scope: string) => ({ scope, sig: opensslHmac(`${scope}:${EXP}`, SIGNING_KEY) });
  expect(tokens).toMatchObject({
    [VECTOR]: signed(`${ACCOUNT}:roads`),
    [RASTER]: {
      ...signed(`${ACCOUNT}:${RASTER}`),
      tile_url: expect.stringContaining(`&scope=${encodeURIComponent(`${ACCOUNT}:${RASTER}`)}&v=1`),
    },
    [DRAFT.replace("5", "6")]: signed(`${other}:roads`),
  });
});

test("a refused call is a ConnectError that names the field, in the protocol's own details", async () => {
  const call = app.client(TileTokenService, {}, "grpc").batchGetTileTokens({ datasetIds: [VECTOR, "x"] });
  const error = await call.then(() => undefined, ConnectError.from);
  expect(error).toMatchObject({ code: Code.InvalidArgument });
  expect(error?.message).toContain("dataset_ids[1]");
});
