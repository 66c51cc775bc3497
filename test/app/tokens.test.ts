import { Code } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { TileTokenInvalidReason } from "../../src/gen/proto/tilegate/v1/tile_token_pb.js";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { aVectorDataset, NOW, PROTOCOLS, SIGNING_KEY, type TestApp } from "../harness/app.js";
import {
  ACCOUNT,
  DRAFT,
  EXP,
  EXPIRES_IN,
  opensslHmac,
  PRIVATE,
  plain,
  RASTER,
  restDoor,
  startWithDatasets,
  UNKNOWN,
  VECTOR,
} from "./token-doors.js";

let app: TestApp;
beforeAll(async () => {
  app = await startWithDatasets();
});
afterAll(() => app[Symbol.asyncDispose]());
afterEach(() => {
  app.now = NOW;
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
