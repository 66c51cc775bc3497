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
    const ring = createSigningKeyRing([secret]);
    expect(ring.sign(scope, exp)).toBe(sig);
    expect(ring.verifies(scope, exp, sig)).toBe(true);
  });

  test.each(vectors.windows)("a token minted at $now expires at $exp", ({ now, ttl, min_validity, exp }) => {
    expect(expiryAt(now, { ttlSeconds: ttl, minValiditySeconds: min_validity })).toBe(exp);
  });
});

describe("the key ring", () => {
  const old = createSigningKeyRing(["the-old-secret-000"]);
  const rotated = createSigningKeyRing(["the-new-secret-000", "the-old-secret-000"]);

  test("a token of the key before a rotation still verifies", () => {
    expect(rotated.verifies("roads", 1_800_000_000, old.sign("roads", 1_800_000_000))).toBe(true);
  });

  test("new tokens are signed by the first key only", () => {
    expect(old.verifies("roads", 1_800_000_000, rotated.sign("roads", 1_800_000_000))).toBe(false);
  });

  test.each([
    ["another scope", "rivers", 1_800_000_000, (sig: string) => sig],
    ["another expiry", "roads", 1_800_000_900, (sig: string) => sig],
    ["a shifted separator", "roads:1", 800_000_000, (sig: string) => sig],
    ["upper case", "roads", 1_800_000_000, (sig: string) => sig.toUpperCase()],
    ["a truncated signature", "roads", 1_800_000_000, (sig: string) => sig.slice(0, -1)],
    ["a longer signature", "roads", 1_800_000_000, (sig: string) => `${sig}0`],
    ["an empty signature", "roads", 1_800_000_000, () => ""],
    ["a multi-byte signature of the right length", "roads", 1_800_000_000, () => "é".repeat(64)],
  ])("%s does not verify", (_name, scope, exp, change) => {
    expect(rotated.verifies(scope, exp, change(rotated.sign("roads", 1_800_000_000)))).toBe(false);
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
