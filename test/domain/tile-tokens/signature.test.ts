import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { scopeOf } from "../../../src/domain/datasets/scope.js";
import { createSigningKeyRing } from "../../../src/domain/tile-tokens/key-ring.js";
import { expiryAt } from "../../../src/domain/tile-tokens/lifetime.js";

interface Vectors {
  signatures: { secret: string; scope: string; exp: number; sig: string }[];
  windows: { now: number; ttl: number; min_validity: number; exp: number }[];
}

const vectors: Vectors = JSON.parse(readFileSync(new URL("./tile-signatures.json", import.meta.url), "utf8"));

describe("the published test vectors", () => {
  test.each(vectors.signatures)("$secret signs $scope:$exp", ({ secret, scope, exp, sig }) => {
    const ring = createSigningKeyRing("hmac", { hmac: [secret], ed25519: [] });
    expect(ring.sign(scope, exp)).toBe(sig);
    expect(ring.verifies(scope, exp, sig)).toBe(true);
  });

  test.each(vectors.windows)("a token minted at $now expires at $exp", ({ now, ttl, min_validity, exp }) => {
    expect(expiryAt(now, { ttlSeconds: ttl, minValiditySeconds: min_validity })).toBe(exp);
  });
});

describe("a token's life", () => {
  test.each([
    [60, 1],
    [900, 60],
    [900, 900],
  ])(
    "with a window of %d s and %d s at least, no token is shorter and none expires off a boundary",
    (ttlSeconds, minValiditySeconds) => {
      for (let now = 1_800_000_000; now < 1_800_000_000 + 2 * ttlSeconds; now += 1) {
        const exp = expiryAt(now, { ttlSeconds, minValiditySeconds });
        expect(exp % ttlSeconds).toBe(0);
        expect(exp - now).toBeGreaterThanOrEqual(minValiditySeconds);
        expect(exp - now).toBeLessThan(ttlSeconds + minValiditySeconds);
      }
    },
  );
});

describe("a scope", () => {
  const account = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
  const vector = {
    id: "2489e9ad-2ee2-8e00-8ec9-32d5f69181c0",
    accountId: account,
    kind: "vector",
    tableName: "roads",
  } as const;
  const raster = { id: "2489e9ad-2ee2-8e00-8ec9-32d5f69181c0", accountId: account, kind: "raster" } as const;

  test("is the table name or the raster's id, bare in a single-account installation", () => {
    expect(scopeOf(vector, "single")).toBe("roads");
    expect(scopeOf(raster, "single")).toBe(raster.id);
  });

  test("carries the account where several share the installation", () => {
    expect(scopeOf(vector, "multi")).toBe(`${account}:roads`);
    expect(scopeOf(raster, "multi")).toBe(`${account}:${raster.id}`);
  });
});
