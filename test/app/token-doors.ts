import { execFileSync } from "node:child_process";
import { expect } from "vitest";
import type { DatasetInput } from "../../src/domain/datasets/dataset-rules.js";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import type { TileTokenResult } from "../../src/gen/proto/tilegate/v1/tile_token_pb.js";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import {
  aVectorDataset,
  type Headers,
  NOW,
  PROTOCOLS,
  startEmbeddedTestApp,
  type TestApp,
} from "../harness/app.js";
import { callWithGrpcJs } from "../harness/grpc-js.js";

export const ACCOUNT = "acc0acc0-0000-4000-8000-000000000001";
export const VECTOR = "dadadada-0000-4000-8000-000000000001";
export const RASTER = "dadadada-0000-4000-8000-000000000002";
export const RASTER_ELSEWHERE = "dadadada-0000-4000-8000-000000000003";
export const PRIVATE = "dadadada-0000-4000-8000-000000000004";
export const DRAFT = "dadadada-0000-4000-8000-000000000005";
export const UNKNOWN = "dadadada-0000-4000-8000-00000000ffff";

export const EXP = 1_800_000_900;
export const EXPIRES_IN = EXP - NOW.getTime() / 1000;

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

/** @param start Default: over an embedded database. */
export async function startWithDatasets(
  env: Record<string, string> = {},
  start = startEmbeddedTestApp,
): Promise<TestApp> {
  const app = await start(env);
  await app.useCases.accounts.create(OPERATOR, { id: ACCOUNT, name: "acme" });
  await app.useCases.datasets.upsert(OPERATOR, ACCOUNT, DATASETS);
  return app;
}

/** The signature as anybody with a shell computes it. */
export function opensslHmac(message: string, key: string): string {
  const output = execFileSync("openssl", ["dgst", "-sha256", "-hmac", key], { input: message });
  return output.toString().trim().replace(/^.*= /, "");
}

export type Tokens = Record<string, unknown>;
type Door = (app: TestApp, ids: string[], headers?: Headers) => Promise<Tokens>;

/** A typed outcome as the REST door writes it, but for errors, whose code only RPCs have. */
export function plain({ result }: TileTokenResult): unknown {
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

export const json = (body: unknown, headers: Headers = {}): RequestInit => ({
  method: "POST",
  headers: { "content-type": "application/json", ...headers },
  body: JSON.stringify(body),
});

export const restDoor =
  (path: string): Door =>
  async (app, ids, headers) => {
    const response = await app.fetch(path, json({ dataset_ids: ids }, headers));
    expect(response.status).toBe(200);
    const body = (await response.json()) as { tokens: Tokens };
    expect(Object.keys(body)).toEqual(["tokens"]);
    return body.tokens;
  };

export const DOORS: Record<string, Door> = {
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
