import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { type Headers, NOW, operator, startTestApp, type TestApp } from "../harness/app.js";
import {
  ACCOUNT,
  DRAFT,
  EXP,
  json,
  PRIVATE,
  RASTER,
  RASTER_ELSEWHERE,
  startWithDatasets,
  UNKNOWN,
  VECTOR,
} from "./token-doors.js";

const BATCH = "/tilegate.v1.TileTokenService/BatchGetTileTokens";
const OPEN = [VECTOR, RASTER, RASTER_ELSEWHERE];
const KEPT = "public, max-age=5, stale-while-revalidate=5";
const NOT_KEPT = "private, no-store";
const VARY = "Authorization, X-Api-Key";

const batchOf = (datasetIds: readonly string[], message: object = { datasetIds }) =>
  `${BATCH}?${new URLSearchParams({ connect: "v1", encoding: "json", message: JSON.stringify(message) })}`;

let app: TestApp;
beforeAll(async () => {
  app = await startWithDatasets({}, startTestApp);
});
beforeEach(() => {
  app.now = NOW;
});
afterAll(() => app[Symbol.asyncDispose]());

async function ask(path: string, headers: Headers = {}, of = app) {
  const response = await of.fetch(path, { headers });
  await response.arrayBuffer();
  const { status, headers: received } = response;
  return { status, caching: received.get("cache-control"), vary: received.get("vary"), received };
}

describe("an anonymous GET of open datasets may be kept by everybody", () => {
  test("whether they were known before or had to be looked up", async () => {
    await using fresh = await startWithDatasets({}, startTestApp);
    for (let times = 0; times < 3; times += 1) {
      expect(await ask(batchOf(OPEN), {}, fresh)).toMatchObject({ status: 200, caching: KEPT, vary: VARY });
    }
  });

  test("in binary too, and as Connect's own client asks", async () => {
    let caching: string | null = null;
    const transport = createConnectTransport({
      baseUrl: app.url,
      httpVersion: "1.1",
      useHttpGet: true,
      useBinaryFormat: true,
      interceptors: [
        (next) => async (request) => {
          const response = await next(request);
          caching = response.header.get("cache-control");
          return response;
        },
      ],
    });
    const { tokens } = await createClient(TileTokenService, transport).batchGetTileTokens({
      datasetIds: OPEN,
    });
    expect(Object.keys(tokens).toSorted()).toEqual(OPEN.toSorted());
    expect(caching).toBe(KEPT);
  });

  test("whoever's page it is: the answer is the same, and tells no cache to keep one for each (the trap of Vary: Origin)", async () => {
    const answers = [];
    const pages: Headers[] = [{}, { origin: "https://a.example" }, { origin: "https://b.example" }];
    for (const headers of pages) {
      const { vary, received } = await ask(batchOf(OPEN), headers);
      answers.push([vary, received.get("access-control-allow-origin"), received.get("content-length")]);
    }
    expect(new Set(answers.map((each) => each.join())).size).toBe(1);
    expect(answers[0]?.slice(0, 2)).toEqual([VARY, "*"]);
  });

  test("whatever encodings a browser reads: it is never compressed, which caches do themselves", async () => {
    for (const accepted of ["gzip, br", "identity", "zstd"]) {
      const { received, caching, vary } = await ask(batchOf(OPEN), { "accept-encoding": accepted });
      expect([received.get("content-encoding"), caching, vary]).toEqual([null, KEPT, VARY]);
    }
  });

  test("but only for each origin where CORS_ORIGINS names some", async () => {
    await using listed = await startWithDatasets({ CORS_ORIGINS: "https://a.example" }, startTestApp);
    for (const [origin, allowed] of [
      ["https://a.example", "https://a.example"],
      ["https://evil.example", null],
    ] as const) {
      const { caching, vary, received } = await ask(batchOf(OPEN), { origin }, listed);
      expect([caching, vary]).toEqual([KEPT, `${VARY}, Origin`]);
      expect(received.get("access-control-allow-origin")).toBe(allowed);
    }
  });
});

describe("nobody may keep", () => {
  test.each([
    ["what needs signing in", [VECTOR, PRIVATE]],
    ["what doesn't exist", [VECTOR, UNKNOWN]],
    ["a draft", [VECTOR, DRAFT]],
    ["nothing but errors", [UNKNOWN]],
  ])("%s", async (_, ids) => {
    for (let times = 0; times < 2; times += 1)
      expect(await ask(batchOf(ids))).toMatchObject({ status: 200, caching: NOT_KEPT, vary: null });
  });

  test("what was asked for with a credential, open or not", async () => {
    const { token } = await app.useCases.apiKeys.create(OPERATOR, { datasetIds: [PRIVATE] }, ACCOUNT);
    const user = await app.user({ sub: "olga", account: ACCOUNT });
    for (const headers of [{ "x-api-key": token }, user, operator]) {
      for (const ids of [OPEN, [VECTOR, PRIVATE]]) {
        expect(await ask(batchOf(ids), headers)).toMatchObject({ status: 200, caching: NOT_KEPT });
      }
    }
  });

  test.each([
    ["a refused credential", batchOf(OPEN), { authorization: "Bearer x" }, 401],
    ["an invalid message", batchOf([]), {}, 400],
    ["an unknown field", batchOf([], { datasetIds: OPEN, extra: 1 }), {}, 400],
    ["a malformed message", `${BATCH}?connect=v1&encoding=json&message=%7B`, {}, 400],
    ["an encoding that there isn't", `${BATCH}?connect=v1&encoding=yaml&message=%7B%7D`, {}, 415],
  ])("%s", async (_, path, headers, status) => {
    expect(await ask(path, headers)).toMatchObject({ status, caching: NOT_KEPT });
  });

  test("the answer to a POST", async () => {
    for (const base of [app.url, app.plainUrl]) {
      const response = await fetch(base + BATCH, json({ datasetIds: OPEN }));
      expect(response.headers.get("cache-control")).toBe(NOT_KEPT);
    }
  });

  test("any longer what is open no more, in the next answer", async () => {
    const input = { kind: "vector", title: "", visibility: "public", status: "published" } as const;
    const { id } = await app.useCases.datasets.create(OPERATOR, {
      ...{ ...input, readerRoles: [], readerSubjects: [] },
      ...{ accountId: ACCOUNT, tableName: "closing" },
    });
    expect((await ask(batchOf([id]))).caching).toBe(KEPT);
    await app.useCases.datasets.update(OPERATOR, id, { visibility: "private" });
    expect((await ask(batchOf([id]))).caching).toBe(NOT_KEPT);
  });
});

describe("how long", () => {
  /** Of a token that has so long to live when the answer is made. */
  const kept = async (expiresIn: number, of = app) => {
    of.now = new Date((EXP - expiresIn) * 1000);
    return (await ask(batchOf(OPEN), {}, of)).caching;
  };

  test("10 s in all, half of it only while another asks: a fifth of the minimum validity is more", async () => {
    for (const expiresIn of [800, 61, 60, 59]) expect(await kept(expiresIn)).toBe(KEPT);
  });

  test.each([
    [49, "public, max-age=5, stale-while-revalidate=4"],
    [25, "public, max-age=3, stale-while-revalidate=2"],
    [9, "public, max-age=1, stale-while-revalidate=0"],
    [5, "public, max-age=1, stale-while-revalidate=0"],
    [4, NOT_KEPT],
    [1, NOT_KEPT],
  ])(
    "a fifth of the %i s that are left: who asks again at 80 %% of expires_in has a token that lives",
    async (expiresIn, caching) => {
      await using brief = await startWithDatasets({ TILE_TOKEN_MIN_VALIDITY_SECONDS: "1" }, startTestApp);
      expect(await kept(expiresIn, brief)).toBe(caching);
    },
  );
});
