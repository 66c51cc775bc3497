import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TileTokenErrorCode } from "../../src/gen/proto/tilegate/v1/tile_token_pb.js";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { type Headers, operator, PROTOCOLS, SIGNING_KEY, type TestApp } from "../harness/app.js";
import {
  ACCOUNT,
  DOORS,
  DRAFT,
  EXP,
  EXPIRES_IN,
  json,
  opensslHmac,
  PRIVATE,
  RASTER,
  RASTER_ELSEWHERE,
  startWithDatasets,
  type Tokens,
  UNKNOWN,
  VECTOR,
} from "./token-doors.js";

const BATCH = "/tilegate.v1.TileTokenService/BatchGetTileTokens";
const RPC_GET = "/tilegate.v1.TileTokenService/GetTileToken";

let app: TestApp;
beforeAll(async () => {
  app = await startWithDatasets();
});
afterAll(() => app[Symbol.asyncDispose]());

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

test("a refused call is a ConnectError that names the field, in the protocol's own details", async () => {
  const call = app.client(TileTokenService, {}, "grpc").batchGetTileTokens({ datasetIds: [VECTOR, "x"] });
  const error = await call.then(() => undefined, ConnectError.from);
  expect(error).toMatchObject({ code: Code.InvalidArgument });
  expect(error?.message).toContain("dataset_ids[1]");
});
