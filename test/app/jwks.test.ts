import { request } from "node:http";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { createVerifier, type Ed25519PublicKey } from "../../packages/verify/dist/index.js";
import { createSigningKeyRing } from "../../src/domain/tile-tokens/key-ring.js";
import { type Headers, NOW, SIGNING_KEY, startTestApp, type TestApp } from "../harness/app.js";
import { restDoor, startWithDatasets, VECTOR } from "./token-doors.js";

const PATH = "/.well-known/jwks.json";
const PAGE = "https://maps.example.com";

const [OLD, NEW] = ["old", "new"].map((name) => Buffer.alloc(32, name)) as [Buffer, Buffer];
const hmac = [SIGNING_KEY];

let app: TestApp;
beforeAll(async () => {
  const TILE_ED25519_KEYS = OLD.toString("base64");
  app = await startWithDatasets({ TILE_SIGNING_ALGORITHM: "ed25519", TILE_ED25519_KEYS }, startTestApp);
});
afterAll(() => app[Symbol.asyncDispose]());
afterEach(() => {
  app.service.keyRing.replace({ hmac, ed25519: [OLD] });
  vi.useRealTimers();
});

interface Token {
  readonly sig: string;
  readonly exp: number;
  readonly scope: string;
}

const keysOf = async (response: Response) => ((await response.json()) as { keys: Ed25519PublicKey[] }).keys;

const kidsOf = (...ed25519: Buffer[]) =>
  createSigningKeyRing("ed25519", { hmac, ed25519 })
    .publicKeys()
    .map(({ kid }) => kid);

/** The names of the answer's headers, as they were sent. */
const rawHeaders = (url: string): Promise<string[]> =>
  new Promise((resolve, reject) => {
    const sent = request(url, ({ rawHeaders }) => resolve(rawHeaders.map((text) => text.toLowerCase())));
    sent.on("error", reject).end();
  });

test("anybody gets the public keys, for caches to keep one answer for all", async () => {
  const senders: Headers[] = [{}, { origin: PAGE }, { authorization: "Bearer nonsense" }];
  for (const headers of senders) {
    const response = await app.fetch(PATH, { headers });
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "content-type": "application/json",
      "cache-control": "public, max-age=300",
      "access-control-allow-origin": "*",
      etag: expect.stringMatching(/^"[\w-]+"$/),
    });
    expect((await keysOf(response)).map((key) => Object.keys(key))).toEqual([
      ["kty", "crv", "x", "kid", "alg", "use"],
    ]);
  }
  expect(await rawHeaders(app.url + PATH)).not.toContain("vary");
  const head = await app.fetch(PATH, { method: "HEAD" });
  expect([head.status, await head.text()]).toEqual([200, ""]);
});

test("where CORS_ORIGINS names pages, only theirs may read them, and caches keep an answer for each", async () => {
  await using other = await startTestApp({ CORS_ORIGINS: PAGE });
  const answerTo = async (origin: string) => (await other.fetch(PATH, { headers: { origin } })).headers;
  const [listed, unlisted] = [await answerTo(PAGE), await answerTo("https://elsewhere.example")];
  expect(listed.get("access-control-allow-origin")).toBe(PAGE);
  expect(unlisted.get("access-control-allow-origin")).toBeNull();
  for (const headers of [listed, unlisted]) expect(headers.get("vary")).toBe("Origin");
});

test("who has them gets 304 until they change", async () => {
  const tagOf = async () => (await app.fetch(PATH)).headers.get("etag") ?? "";
  const ask = async (tag: string) => (await app.fetch(PATH, { headers: { "if-none-match": tag } })).status;
  const before = await tagOf();
  expect(await ask(before)).toBe(304);
  expect(await ask(`W/${before}`)).toBe(304);
  app.service.keyRing.replace({ hmac, ed25519: [OLD, NEW] });
  expect(await ask(before)).toBe(200);
  expect(await ask(await tagOf())).toBe(304);
});

test("an edge that has nothing else verifies tokens through a rotation, with keys that may be one step old", async () => {
  vi.useFakeTimers({ now: NOW, toFake: ["Date"] });
  const { keyRing } = app.service;
  const steps = [[OLD], [OLD, NEW], [NEW, OLD], [NEW]];
  let published: readonly Ed25519PublicKey[] = await keysOf(await app.fetch(PATH));
  for (const ed25519 of steps) {
    keyRing.replace({ hmac, ed25519 });
    const current = await keysOf(await app.fetch(PATH));
    expect(current).toMatchObject(kidsOf(...ed25519).map((kid) => ({ kid })));
    const { sig, exp, scope } = (await restDoor("/api/tiles/tokens/")(app, [VECTOR]))[VECTOR] as Token;
    const url = `https://tiles.example.com/roads/1/1/1?sig=${sig}&exp=${exp}&scope=${scope}`;
    for (const keys of [published, current]) {
      expect(await createVerifier({ keys }).verify(url)).toMatchObject({ valid: true, scope: "roads" });
    }
    published = current;
  }
});
