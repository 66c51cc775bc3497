import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  createSigningKeyRing,
  SIGNING_ALGORITHMS,
  type SigningAlgorithm,
  type SigningKeys,
} from "../../src/domain/tile-tokens/key-ring.js";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { SIGNING_KEY, type TestApp } from "../harness/app.js";
import { DOORS, EXP, RASTER, startWithDatasets, VECTOR } from "./token-doors.js";

interface Token {
  readonly kind: string;
  readonly sig: string;
  readonly exp: number;
  readonly scope: string;
  readonly tile_url?: string;
}

const seed = Buffer.alloc(32, "the old seed");

/** Of either algorithm an old and a new key. */
const OLD: SigningKeys = { hmac: [SIGNING_KEY], ed25519: [seed] };
const NEW: SigningKeys = { hmac: ["the-new-secret-of-a-test"], ed25519: [Buffer.alloc(32, "the new seed")] };

const joined = (first: SigningKeys, second: SigningKeys): SigningKeys => ({
  hmac: [...first.hmac, ...second.hmac],
  ed25519: [...first.ed25519, ...second.ed25519],
});

describe.each(SIGNING_ALGORITHMS)("tokens that %s signs", (algorithm: SigningAlgorithm) => {
  let app: TestApp;
  beforeAll(async () => {
    app = await startWithDatasets({
      TILE_SIGNING_ALGORITHM: algorithm,
      TILE_ED25519_KEYS: seed.toString("base64"),
    });
  });
  afterAll(() => app[Symbol.asyncDispose]());
  afterEach(() => {
    app.service.keyRing.replace(OLD);
  });

  const isValid = async ({ sig, exp, scope }: Token) =>
    (await app.client(TileTokenService).verifyTileToken({ sig, exp, scope })).valid;
  const isSignedBy = (keys: SigningKeys, { sig, exp, scope }: Token) =>
    createSigningKeyRing(algorithm, keys).verifies(scope, exp, sig);

  describe.each(Object.entries(DOORS))("over %s", (_name, ask) => {
    /** As often as it takes for the answer to be remembered, all in one second: the clock stands still. */
    async function mint(): Promise<readonly Token[]> {
      const answers: Token[] = [];
      for (let count = 0; count < 3; count += 1) {
        answers.push(...(Object.values(await ask(app, [VECTOR, RASTER])) as Token[]));
      }
      return answers;
    }

    test("a rotation in three steps refuses none, and from each step on answers have no other key's signature", async () => {
      const { keyRing } = app.service;
      const first = await mint();
      expect(keyRing.replace(joined(OLD, NEW))).toBe(true);
      const second = await mint();
      expect(keyRing.replace(joined(NEW, OLD))).toBe(true);
      const third = await mint();
      for (const token of [...first, ...second]) expect(isSignedBy(OLD, token)).toBe(true);
      for (const token of third) expect(isSignedBy(NEW, token)).toBe(true);
      for (const token of [...first, ...second, ...third]) expect(await isValid(token)).toBe(true);

      expect(keyRing.replace(NEW)).toBe(true);
      const fourth = await mint();
      for (const token of fourth) expect(isSignedBy(NEW, token)).toBe(true);
      for (const token of [...third, ...fourth]) expect(await isValid(token)).toBe(true);
      for (const token of [...first, ...second]) expect(await isValid(token)).toBe(false);
    });

    test("a raster's template carries the signature of the token", async () => {
      app.service.keyRing.replace(NEW);
      for (const { kind, sig, tile_url } of await mint()) {
        if (kind === "raster") expect(new URL(tile_url ?? "", "http://a").searchParams.get("sig")).toBe(sig);
      }
    });
  });

  test("forward auth obeys at once, whose verdict on a token is remembered for a second", async () => {
    const { keyRing } = app.service;
    const table = "roads";
    const token = { sig: keyRing.sign(table, EXP), exp: EXP, scope: table };
    const verdict = async () => {
      const uri = `/tiles/data.${table}/0/0/0.pbf?sig=${token.sig}&exp=${token.exp}&scope=${token.scope}`;
      const answer = await app.fetch("/auth/tiles", { headers: { "x-original-uri": uri } });
      return answer.headers.get("x-tilegate-reason") ?? answer.status;
    };
    for (let count = 0; count < 3; count += 1) expect(await verdict()).toBe(200);
    keyRing.replace(joined(NEW, OLD));
    expect(await verdict()).toBe(200);
    keyRing.replace(NEW);
    for (let count = 0; count < 3; count += 1) expect(await verdict()).toBe("signature");
  });

  test("a ring without a key that signs is refused, and the old one stays", async () => {
    const { keyRing } = app.service;
    const generation = keyRing.generation();
    expect(() => keyRing.replace({ ...NEW, [algorithm]: [] })).toThrow();
    expect(keyRing.replace(OLD)).toBe(false);
    expect(keyRing.generation()).toBe(generation);
  });
});
