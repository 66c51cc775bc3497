import { createHmac, randomUUID } from "node:crypto";
import { type ClientHttp2Session, connect } from "node:http2";
import { create, toBinary, toJsonString } from "@bufbuild/protobuf";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { grpcFrame } from "../../../harness/grpc-frame.mjs";
import { OPERATOR } from "../../../src/domain/identity/principal.js";
import { generateSecret } from "../../../src/domain/identity/secret.js";
import { CheckRequestSchema } from "../../../src/gen/proto/envoy/service/auth/v3/external_auth_pb.js";
import {
  type VerifyApiKeyRequest,
  VerifyApiKeyRequestSchema,
} from "../../../src/gen/proto/tilegate/v1/api_key_service_pb.js";
import { BatchGetTileTokensRequestSchema } from "../../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { IdList } from "../../../src/schema/id-list.js";
import {
  aVectorDataset,
  type Headers,
  operator,
  SIGNING_KEY,
  startTestApp,
  type TestApp,
} from "../../harness/app.js";

const RPC = "/tilegate.v1.TileTokenService/BatchGetTileTokens";
const SINGLE = "/tilegate.v1.TileTokenService/GetTileToken";
const VERIFY = "/tilegate.v1.ApiKeyService/VerifyApiKey";
const CHECK = "/envoy.service.auth.v3.Authorization/Check";
const UNKNOWN = "00000000-0000-4000-8000-000000000000";

let app: TestApp;
let ids: string[];
let callers: Headers[];
let keys: string[];
const sessions = new Map<string, ClientHttp2Session>();

beforeAll(async () => {
  app = await startTestApp();
  const { accounts, datasets, apiKeys } = app.useCases;
  const { id: accountId } = await accounts.create(OPERATOR, { name: "own" });
  const shared = { title: "", readerRoles: ["reader"], readerSubjects: [], accountId };
  const raster = { ...aVectorDataset, ...shared, kind: "raster" } as const;
  const inputs = [
    { ...aVectorDataset, ...shared, tableName: "roads" },
    { ...aVectorDataset, ...shared, tableName: "rivers", visibility: "restricted" },
    { ...aVectorDataset, ...shared, tableName: "parcels", visibility: "private" },
    { ...aVectorDataset, ...shared, tableName: "plans", status: "draft" },
    { ...raster, raster: { bounds: [-180, -85.0511, 180, 85.0511] } },
    {
      ...raster,
      raster: { tileUrlTemplate: "https://kachle.example/dlaždice/{z}/{x}/{y}.webp?style=a&b", minzoom: 3 },
    },
  ] as const;
  ids = [];
  for (const input of inputs) ids.push((await datasets.create(OPERATOR, input)).id);
  const key = async (origins: string[], allowedIps: string[] = []) =>
    (await apiKeys.create(OPERATOR, { origins, allowedIps, datasetIds: ids.slice(1, 3) }, accountId)).token;
  const { secret } = await accounts.createServiceToken(OPERATOR, { accountId, name: "" });
  keys = [
    await key(["maps.example.com", "?"]),
    await key([]),
    await key([], ["192.0.2.0/24"]),
    "tgk_x",
    generateSecret("tgk_"),
  ];
  callers = [
    {},
    { origin: "https://maps.example.com" },
    { "x-api-key": await key(["maps.example.com"]), origin: "https://maps.example.com" },
    { "x-api-key": await key(["maps.example.com"]), origin: "https://evil.example" },
    { "x-api-key": await key([]), ...(await app.user({ sub: "a", account: accountId })) },
    await app.user({ sub: "reader", account: accountId, roles: ["reader"] }),
    await app.user({ sub: "admin", account: accountId, roles: ["admin"] }),
    { authorization: `Token ${secret}` },
    operator,
    { authorization: "Bearer garbage" },
    { authorization: "" },
  ];
});

afterAll(async () => {
  for (const session of sessions.values()) session.destroy();
  await app[Symbol.asyncDispose]();
});

/** What a client gets. */
interface Answer {
  readonly status: unknown;
  readonly headers: Record<string, unknown>;
  readonly body: unknown;
}

const COMPARED = [
  "content-type",
  "cache-control",
  "x-content-type-options",
  "access-control-allow-origin",
  "access-control-expose-headers",
  "www-authenticate",
  "vary",
];

async function overHttp1(base: string, path: string, headers: Headers, body: Uint8Array): Promise<Answer> {
  const response = await fetch(base + path, { method: "POST", headers, body: Uint8Array.from(body) });
  const bytes = Buffer.from(await response.arrayBuffer());
  const isJson = response.headers.get("content-type")?.includes("json");
  return {
    status: response.status,
    headers: Object.fromEntries(COMPARED.map((name) => [name, response.headers.get(name)])),
    body: isJson ? JSON.parse(bytes.toString()) : bytes.toString("base64"),
  };
}

async function overGrpc(base: string, headers: Headers, message: Uint8Array, path = RPC): Promise<Answer> {
  const session = sessions.get(base) ?? connect(base);
  sessions.set(base, session);
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
    ...headers,
  });
  stream.end(grpcFrame(message));
  let answered: Record<string, unknown> = {};
  let trailers: Record<string, unknown> = {};
  stream.on("response", (received) => {
    answered = received;
  });
  stream.on("trailers", (received) => {
    trailers = { ...received };
  });
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  const { date: _, "x-request-id": __, ...rest } = answered;
  return { status: trailers, headers: rest, body: Buffer.concat(chunks).toString("base64") };
}

const anId = fc.oneof(
  { weight: 12, arbitrary: fc.nat({ max: 5 }).map((index) => ids[index] ?? "") },
  { weight: 1, arbitrary: fc.constant(UNKNOWN) },
  { weight: 1, arbitrary: fc.nat({ max: 5 }).map((index) => (ids[index] ?? "").toUpperCase()) },
  { weight: 1, arbitrary: fc.constantFrom("", "x", "2489e9ad-2ee2-8e00-8ec9-32d5f69181cé") },
);
/** Mostly what the codecs take, without repetition, and now and then what they leave alone. */
const someIds = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.shuffledSubarray([0, 1, 2, 3, 4, 5]).map((picks) => picks.map((index) => ids[index] ?? "")),
  },
  { weight: 1, arbitrary: fc.array(anId, { maxLength: 52 }) },
);
const aManager = fc.nat({ max: 2 }).map((index) => callers[6 + index] ?? {});
const aCaller = fc.nat({ max: 10 }).map((index) => callers[index] ?? {});
/** Of a few seconds, for what is remembered within one to be asked for again. */
const aMoment = fc
  .tuple(fc.nat({ max: 3 }), fc.nat({ max: 999 }))
  .map(([second, milliseconds]) => 1_800_000_000_000 + 777_000 * second + milliseconds);

const BARE = { head: Buffer.alloc(0), between: Buffer.alloc(0), tail: Buffer.alloc(0) };

describe("the hot RPCs' codecs answer as the framework does", () => {
  const json = (name: string, list: readonly string[]) => Buffer.from(JSON.stringify({ [name]: list }));
  const binary = (list: readonly string[]) =>
    toBinary(
      BatchGetTileTokensRequestSchema,
      create(BatchGetTileTokensRequestSchema, { datasetIds: [...list] }),
    );
  const jsonType = { "content-type": "application/json" };

  test.each<[string, (base: string, headers: Headers, list: readonly string[]) => Promise<Answer>]>([
    [
      "Connect JSON",
      (base, headers, list) => overHttp1(base, RPC, { ...headers, ...jsonType }, json("datasetIds", list)),
    ],
    [
      "Connect JSON in snake case",
      (base, headers, list) => overHttp1(base, RPC, { ...headers, ...jsonType }, json("dataset_ids", list)),
    ],
    [
      "Connect binary",
      (base, headers, list) =>
        overHttp1(base, RPC, { ...headers, "content-type": "application/proto" }, binary(list)),
    ],
    ["gRPC", (base, headers, list) => overGrpc(base, headers, binary(list))],
    [
      "GeoLens REST",
      (base, headers, list) =>
        overHttp1(base, "/api/tiles/tokens/", { ...headers, ...jsonType }, json("dataset_ids", list)),
    ],
  ])("over %s, for any batch of any caller at any time", async (name, ask) => {
    const before = app.service.hotAnswers();
    await fc.assert(
      fc.asyncProperty(someIds, aCaller, aMoment, async (list, headers, moment) => {
        app.now = new Date(moment);
        expect(await ask(app.url, headers, list)).toEqual(await ask(app.plainUrl, headers, list));
      }),
      { numRuns: 60 },
    );
    // Or there was nothing to compare.
    if (name !== "GeoLens REST") expect(app.service.hotAnswers() - before).toBeGreaterThan(10);
  });

  test.each<[string, (base: string, headers: Headers, id: string) => Promise<Answer>]>([
    [
      "Connect JSON",
      (base, headers, datasetId) =>
        overHttp1(base, SINGLE, { ...headers, ...jsonType }, Buffer.from(JSON.stringify({ datasetId }))),
    ],
    ["gRPC", (base, headers, id) => overGrpc(base, headers, binary([id]), SINGLE)],
  ])("over %s, for one token of any dataset for any caller at any time", async (_name, ask) => {
    const before = app.service.hotAnswers();
    await fc.assert(
      fc.asyncProperty(anId, aCaller, aMoment, async (id, headers, moment) => {
        app.now = new Date(moment);
        expect(await ask(app.url, headers, id)).toEqual(await ask(app.plainUrl, headers, id));
      }),
      { numRuns: 60 },
    );
    expect(app.service.hotAnswers() - before).toBeGreaterThan(10);
  });

  test.each<[string, (base: string, headers: Headers, asked: VerifyApiKeyRequest) => Promise<Answer>]>([
    [
      "Connect JSON",
      (base, headers, asked) =>
        overHttp1(
          base,
          VERIFY,
          { ...headers, ...jsonType },
          Buffer.from(toJsonString(VerifyApiKeyRequestSchema, asked)),
        ),
    ],
    [
      "gRPC",
      (base, headers, asked) => overGrpc(base, headers, toBinary(VerifyApiKeyRequestSchema, asked), VERIFY),
    ],
  ])("over %s, for any verification by any caller at any time", async (_name, ask) => {
    const asked = fc
      .record({
        token: fc.constantFrom("", ...keys),
        origin: fc.constantFrom("", "https://maps.example.com", "https://evil.example", "null", "ünïcode"),
        userAgent: fc.constantFrom("", "", "curl/8", "x".repeat(300)),
        clientIp: fc.constantFrom("", "192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1", "x".repeat(65)),
        datasetId: fc.constantFrom("", ...ids, UNKNOWN, UNKNOWN.toUpperCase(), "x"),
      })
      .map((init) => create(VerifyApiKeyRequestSchema, init));
    const before = app.service.hotAnswers();
    await fc.assert(
      fc.asyncProperty(asked, fc.oneof(aManager, aCaller), aMoment, async (request, headers, moment) => {
        app.now = new Date(moment);
        expect(await ask(app.url, headers, request)).toEqual(await ask(app.plainUrl, headers, request));
      }),
      { numRuns: 60 },
    );
    expect(app.service.hotAnswers() - before).toBeGreaterThan(10);
  });

  test("over gRPC, for any question of Envoy about any request at any time", async () => {
    const exp = 1_800_003_600;
    const token = (scope: string) =>
      `?sig=${createHmac("sha256", SIGNING_KEY).update(`${scope}:${exp}`).digest("hex")}&exp=${exp}&scope=${scope}`;
    const paths = [
      "/roads/1/1/1",
      "/rivers/1/1/1",
      "/roads,rivers/1/1/1",
      "/plans/1/1/1",
      "/x",
      "//roads/1/1/1",
      "",
      "/ü",
    ];
    const queries = [
      "",
      "",
      token("roads"),
      token("roads"),
      token("rivers"),
      "?sig=1",
      ...keys.map((key) => `?key=${key}`),
    ];
    const names = ["x-api-key", "origin", "referer", "user-agent", "x_api_key", "accept", "x_trace", ":path"];
    const asked = fc
      .record({
        method: fc.constantFrom("GET", "GET", "HEAD", "POST", ""),
        path: fc.tuple(fc.constantFrom(...paths), fc.constantFrom(...queries)).map((parts) => parts.join("")),
        headers: fc.dictionary(
          fc.constantFrom(...names),
          fc.constantFrom("https://maps.example.com", "a,b", "", "ü", ...keys),
        ),
        address: fc.constantFrom("", "192.0.2.7", "::1", "x"),
        has: fc.constantFrom(true, true, true, false),
      })
      .map(({ address, has, ...http }) =>
        create(CheckRequestSchema, {
          attributes: {
            source: { address: { socketAddress: { address } } },
            ...(has && { request: { http } }),
          },
        }),
      );
    const before = app.service.hotAnswers();
    const ask = (base: string, message: Uint8Array) => overGrpc(base, {}, message, CHECK);
    await fc.assert(
      fc.asyncProperty(asked, aMoment, async (request, moment) => {
        app.now = new Date(moment);
        const message = toBinary(CheckRequestSchema, request);
        expect(await ask(app.url, message)).toEqual(await ask(app.plainUrl, message));
      }),
      { numRuns: 150 },
    );
    expect(app.service.hotAnswers() - before).toBeGreaterThan(50);
  });

  test.each(["100m", "9999m", "1n", "5S", "soon"])(
    "a call that must be done in %s is left to the framework",
    async (timeout) => {
      const before = app.service.hotAnswers();
      await overGrpc(app.url, { "grpc-timeout": timeout }, binary(ids.slice(0, 1)));
      expect(app.service.hotAnswers()).toBe(before);
      await overGrpc(app.url, { "grpc-timeout": "10S" }, binary(ids.slice(0, 1)));
      expect(app.service.hotAnswers()).toBe(before + 1);
    },
  );

  test("a use of a key is counted once, also by a call that has to wait", async () => {
    const { apiKeys, accounts } = app.useCases;
    const [account] = (await accounts.list(OPERATOR, { limit: 10 })).items;
    const rateLimit = { requests: 2, windowSeconds: 60 };
    const { token } = await apiKeys.create(OPERATOR, { rateLimit }, account?.id);
    const headers = { "x-api-key": token, ...jsonType };
    // The one waits for the dataset; the other is refused when the dataset is not there.
    const batch = await overHttp1(app.url, RPC, headers, json("datasetIds", [UNKNOWN]));
    const ask = () => overHttp1(app.url, SINGLE, headers, Buffer.from(`{"datasetId":"${UNKNOWN}"}`));
    const [single, third] = [await ask(), await ask()];
    expect([batch.status, single.status, third.status]).toEqual([200, 404, 429]);
  });

  test("an answer that is remembered is that of the same question, by somebody who may have it", async () => {
    app.now = new Date(1_800_000_100_000);
    const pick = (...indices: number[]) => binary(indices.map((index) => ids[index] ?? ""));
    // Public, not public, and some that differ in the middle only.
    for (const asked of [pick(0, 4, 5), pick(0, 1, 5), pick(0, 2, 5), pick(0, 3, 5), pick(4, 0, 5)]) {
      for (const headers of [...callers, ...callers]) {
        expect(await overGrpc(app.url, headers, asked)).toEqual(await overGrpc(app.plainUrl, headers, asked));
      }
    }
  });

  test("ids of the same hash are told apart", async () => {
    const byHash = new Map<number | undefined, string>();
    let two: string[] = [];
    // Expected among 80,000 of 32 bits.
    for (let count = 0; two.length === 0 && count < 2_000_000; count += 1) {
      const id = randomUUID();
      const hash = IdList.in(Buffer.from(id), BARE)?.hashAt(0);
      const other = byHash.get(hash);
      if (other !== undefined) two = [id, other];
      byHash.set(hash, id);
    }
    expect(two).toHaveLength(2);
    const [account] = (await app.useCases.accounts.list(OPERATOR, { limit: 10 })).items;
    const shared = {
      ...aVectorDataset,
      title: "",
      readerRoles: [],
      readerSubjects: [],
      accountId: account?.id,
    };
    for (const id of two) await app.useCases.datasets.create(OPERATOR, { ...shared, tableName: id, id });
    const [one = "", other = ""] = two;
    for (const asked of [[one], [other], [one, other], [other, one], [one, other, one]]) {
      const headers = { ...operator, ...jsonType };
      const answer = await overHttp1(app.url, RPC, headers, json("datasetIds", asked));
      expect(Object.keys(Object(answer.body).tokens).sort()).toEqual([...new Set(asked)].sort());
      expect(answer).toEqual(await overHttp1(app.plainUrl, RPC, headers, json("datasetIds", asked)));
    }
  });

  test("a change is seen by the very next call, also by callers that it remembers", async () => {
    const [id = ""] = ids;
    const headers = callers[2] ?? {};
    const ask = async () => {
      const answer = await overHttp1(app.url, RPC, { ...headers, ...jsonType }, json("datasetIds", [id]));
      return JSON.stringify(answer.body);
    };
    expect(await ask()).toContain('"vector"');
    await app.useCases.datasets.update(OPERATOR, id, { visibility: "private" });
    expect(await ask()).toContain("PERMISSION_DENIED");
    await app.useCases.datasets.update(OPERATOR, id, { visibility: "public" });
    expect(await ask()).toContain('"vector"');
  });

  test("a key that is deleted, and one that expires, are refused by the very next call", async () => {
    const { apiKeys } = app.useCases;
    const [account] = (await app.useCases.accounts.list(OPERATOR, { limit: 10 })).items;
    // Half a second of one and the same: in it, callers are remembered.
    app.now = new Date(1_800_000_200_000);
    const expireTime = new Date(1_800_000_200_500);
    const expiring = await apiKeys.create(OPERATOR, { expireTime }, account?.id);
    const deleted = await apiKeys.create(OPERATOR, {}, account?.id);
    const ask = async (token: string) =>
      (
        await overHttp1(
          app.url,
          RPC,
          { "x-api-key": token, ...jsonType },
          json("datasetIds", ids.slice(0, 1)),
        )
      ).status;
    expect(await ask(expiring.token)).toBe(200);
    expect(await ask(deleted.token)).toBe(200);
    await apiKeys.delete(OPERATOR, deleted.key.id);
    expect(await ask(deleted.token)).toBe(401);
    // Remembered again, since the deletion made everything be forgotten.
    expect(await ask(expiring.token)).toBe(200);
    app.now = expireTime;
    expect(await ask(expiring.token)).toBe(401);
  });
});
