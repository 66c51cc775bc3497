import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { createVerifier, pollRevocations } from "../../packages/verify/dist/index.js";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { NOW, SIGNING_KEY, startTestApp, type TestApp } from "../harness/app.js";
import { queryOf } from "./forward-auth.js";
import { EXP, opensslHmac, RASTER, startWithDatasets, VECTOR } from "./token-doors.js";

const PATH = "/.well-known/tilegate/revocations";

let app: TestApp;
beforeAll(async () => {
  app = await startWithDatasets({}, startTestApp);
});
afterAll(() => app[Symbol.asyncDispose]());
afterEach(() => {
  app.now = NOW;
  vi.useRealTimers();
});

interface List {
  readonly revocations: Record<string, number>;
  readonly issued: number;
  readonly sig: string;
}

const read = async (headers: Record<string, string> = {}) => {
  const response = await app.fetch(PATH, { headers });
  return { response, list: response.status === 200 ? ((await response.json()) as List) : undefined };
};

test("lists what is refused, at once and for as long as a token may be alive that it names", async () => {
  expect((await read()).list?.revocations).toEqual({});
  await app.useCases.datasets.revokeTokens(OPERATOR, VECTOR);
  expect((await read()).list?.revocations).toEqual({ roads: EXP });
  await app.useCases.datasets.delete(OPERATOR, RASTER);
  const { response, list } = await read();
  expect(list?.revocations).toEqual({ roads: EXP, [RASTER]: EXP });
  expect(response.headers.get("cache-control")).toBe("public, max-age=5");
  expect(response.headers.get("access-control-allow-origin")).toBe("*");
  expect(
    (await read({ origin: "https://a.example" })).response.headers.get("access-control-allow-origin"),
  ).toBe("*");
  app.now = new Date((EXP - 1) * 1000);
  expect((await read()).list?.revocations).toEqual({ roads: EXP, [RASTER]: EXP });
  app.now = new Date(EXP * 1000);
  expect((await read()).list?.revocations).toEqual({});
});

test("is signed as a whole, by what anybody with the key can make again", async () => {
  await app.useCases.datasets.revokeTokens(OPERATOR, VECTOR);
  const { list } = await read();
  if (list === undefined) throw new Error("no list");
  const lines = Object.keys(list.revocations)
    .sort()
    .map((scope) => `${list.revocations[scope]} ${scope}\n`);
  expect(list.sig).toBe(opensslHmac(`revocations\n${list.issued}\n${lines.join("")}`, SIGNING_KEY));
  expect(list.issued).toBe(NOW.getTime() / 1000);
});

test("is the same for ten seconds in which nothing changes, so that who has it gets 304", async () => {
  const { response } = await read();
  const tag = response.headers.get("etag") ?? "";
  app.now = new Date(NOW.getTime() + 9_999);
  expect((await read({ "if-none-match": tag })).response.status).toBe(304);
  await app.useCases.datasets.revokeTokens(OPERATOR, VECTOR);
  expect((await read({ "if-none-match": tag })).response.status).toBe(200);
});

test("is obeyed by tilegate/verify, which accepts the tokens that come after", async () => {
  vi.useFakeTimers({ now: NOW, toFake: ["Date"] });
  const { list } = await read();
  const before = (list?.revocations.roads ?? EXP) + 1;
  const revocations = pollRevocations(app.url + PATH, { pollSeconds: 5 });
  const { verify } = createVerifier({ keys: [SIGNING_KEY], revocations });
  const outcome = async (exp: number) => {
    const verdict = await verify(`https://tiles.example.com/roads/1/1/1?${queryOf("roads", exp)}`);
    return verdict.valid || verdict.reason;
  };
  expect(await outcome(before)).toBe(true);
  const untilExp = await app.useCases.datasets.revokeTokens(OPERATOR, VECTOR);
  expect(untilExp).toBe(before);
  vi.setSystemTime(NOW.getTime() + 5_000);
  expect(await outcome(before)).toBe("revoked");
  expect(await outcome(untilExp + 1)).toBe(true);
});

test("and public keys are published for caches to keep", async () => {
  const seed = Buffer.alloc(32, 7).toString("base64");
  await using signing = await startTestApp({ TILE_SIGNING_ALGORITHM: "ed25519", TILE_ED25519_KEYS: seed });
  const response = await signing.fetch("/.well-known/jwks.json");
  expect(response.headers.get("cache-control")).toBe("public, max-age=300");
  const { keys } = (await response.json()) as { keys: object[] };
  expect(keys).toEqual([
    {
      kty: "OKP",
      crv: "Ed25519",
      x: expect.stringMatching(/^[\w-]{43}$/),
      kid: expect.stringMatching(/^[\w-]{43}$/),
      alg: "EdDSA",
      use: "sig",
    },
  ]);
  const tag = response.headers.get("etag") ?? "";
  expect((await signing.fetch("/.well-known/jwks.json", { headers: { "if-none-match": tag } })).status).toBe(
    304,
  );
  expect(await (await app.fetch("/.well-known/jwks.json")).json()).toEqual({ keys: [] });
});
