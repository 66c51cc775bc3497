import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from "node:crypto";
import type { Dataset } from "../datasets/dataset.js";

/**
 * single: scopes are bare, as GeoLens' own. multi: prefixed with the account, since a table name is unique
 * within its account only and a scope without its tenant could be replayed against another.
 */
export type Tenancy = "single" | "multi";

/** What a dataset's tokens open. Minting and verifying both go by what this returned when it was created. */
export function scopeOf(
  dataset: Pick<Dataset, "id" | "accountId" | "kind" | "tableName">,
  tenancy: Tenancy,
): string {
  const bare = dataset.kind === "vector" ? dataset.tableName : dataset.id;
  if (bare === undefined) throw new Error(`vector dataset ${dataset.id} has no table name`);
  return tenancy === "multi" ? `${dataset.accountId}:${bare}` : bare;
}

export interface TokenLifetime {
  /** Length of a window: tokens expire at its multiples, so that all tokens of a window are equal. */
  readonly ttlSeconds: number;
  /** A token lives at least this long: one that was minted just before a boundary expires at the next. */
  readonly minValiditySeconds: number;
}

/** The expiry of a token minted at `nowSeconds`: Unix seconds. */
export function expiryAt(nowSeconds: number, { ttlSeconds, minValiditySeconds }: TokenLifetime): number {
  const next = (Math.floor(nowSeconds / ttlSeconds) + 1) * ttlSeconds;
  return next - nowSeconds < minValiditySeconds ? next + ttlSeconds : next;
}

export interface SigningKeyRing {
  /** Lower-case hex HMAC-SHA256 of `{scope}:{exp}` under the first key. */
  sign(scope: string, exp: number): string;
  /** Whether any key of the ring made `sig`. Takes the same time whichever it was, and if none was. */
  verifies(scope: string, exp: number, sig: string): boolean;
}

/** @param secrets At least one, used as UTF-8 bytes. The first signs, all verify. */
export function createSigningKeyRing(secrets: readonly string[]): SigningKeyRing {
  const [signingKey, ...olderKeys] = secrets.map((secret) => createSecretKey(secret, "utf8"));
  if (signingKey === undefined) throw new Error("the key ring is empty");
  const digest = (key: KeyObject, scope: string, exp: number) =>
    createHmac("sha256", key).update(`${scope}:${exp}`).digest("hex");
  return {
    sign: (scope, exp) => digest(signingKey, scope, exp),
    verifies(scope, exp, sig) {
      const actual = Buffer.from(sig);
      const matches = [signingKey, ...olderKeys].map((key) => {
        const expected = Buffer.from(digest(key, scope, exp));
        return expected.length === actual.length && timingSafeEqual(expected, actual);
      });
      return matches.includes(true);
    },
  };
}
