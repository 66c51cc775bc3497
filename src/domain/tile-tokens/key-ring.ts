import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from "node:crypto";

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
