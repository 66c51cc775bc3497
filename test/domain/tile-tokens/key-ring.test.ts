import { createHmac, createPublicKey, verify } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  createSigningKeyRing,
  SIGNING_ALGORITHMS,
  type SigningAlgorithm,
  type SigningKeyRing,
  type SigningKeys,
} from "../../../src/domain/tile-tokens/key-ring.js";

const SCOPE = "roads";
const EXP = 1_800_000_000;
const NONE: SigningKeys = { hmac: [], ed25519: [] };

const secretOf = (name: string) => `the-${name}-secret-of-a-test`;
const seedOf = (name: string) => Buffer.alloc(32, name);

const keysOf = { hmac: secretOf, ed25519: seedOf };

/** A ring with these keys of an algorithm, which signs. */
const ringOf = (algorithm: SigningAlgorithm, ...names: string[]): SigningKeyRing =>
  createSigningKeyRing(algorithm, { ...NONE, [algorithm]: names.map((name) => keysOf[algorithm](name)) });

/** RFC 8032, 7.1, as {seed, public key, message, signature}. */
const RFC_8032 = [
  {
    seed: "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    publicKey: "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    message: "",
    signature:
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
  },
  {
    seed: "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    publicKey: "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    message: "72",
    signature:
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
  },
] as const;

describe("Ed25519", () => {
  test.each(RFC_8032)(
    "signs as RFC 8032 does, and publishes its key: $message",
    ({ seed, publicKey, message, signature }) => {
      const ring = createSigningKeyRing("ed25519", { ...NONE, ed25519: [Buffer.from(seed, "hex")] });
      expect(ring.signText(Buffer.from(message, "hex").toString())).toBe(signature);
      const [published] = ring.publicKeys();
      expect(Buffer.from(published?.x ?? "", "base64url").toString("hex")).toBe(publicKey);
    },
  );

  test("names a key by its thumbprint, as RFC 8037 shows it, and publishes nothing that signs", () => {
    const seed = Buffer.from(RFC_8032[0].seed, "hex");
    expect(createSigningKeyRing("ed25519", { ...NONE, ed25519: [seed] }).publicKeys()).toEqual([
      {
        kty: "OKP",
        crv: "Ed25519",
        x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        kid: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        alg: "EdDSA",
        use: "sig",
      },
    ]);
  });

  test("its tokens are verified by whoever has the published key alone", () => {
    const ring = ringOf("ed25519", "only");
    const [{ kty = "", crv = "", x = "" } = {}] = ring.publicKeys();
    const key = createPublicKey({ key: { kty, crv, x }, format: "jwk" });
    const signature = Buffer.from(ring.sign(SCOPE, EXP), "hex");
    expect(verify(null, Buffer.from(`${SCOPE}:${EXP}`), key, signature)).toBe(true);
  });

  test("all keys of the ring are published, those that don't sign yet too, and no HMAC secret", () => {
    const keys = { hmac: [secretOf("shared")], ed25519: [seedOf("a"), seedOf("b")] };
    for (const algorithm of SIGNING_ALGORITHMS) {
      const published = createSigningKeyRing(algorithm, keys).publicKeys();
      expect(published.map(({ kid }) => kid)).toEqual(
        ["a", "b"].map((name) => ringOf("ed25519", name).publicKeys()[0]?.kid),
      );
    }
    expect(ringOf("hmac", "shared").publicKeys()).toEqual([]);
  });
});

describe.each(SIGNING_ALGORITHMS)("a ring that signs with %s", (algorithm) => {
  const old = ringOf(algorithm, "old");
  const rotated = ringOf(algorithm, "new", "old");

  test("a token of the key before a rotation still verifies", () => {
    expect(rotated.verifies(SCOPE, EXP, old.sign(SCOPE, EXP))).toBe(true);
  });

  test("new tokens are signed by the first key only", () => {
    expect(old.verifies(SCOPE, EXP, rotated.sign(SCOPE, EXP))).toBe(false);
  });

  test("a signature has as many digits as the contract says, in lower case", () => {
    expect(rotated.sign(SCOPE, EXP)).toMatch(algorithm === "hmac" ? /^[0-9a-f]{64}$/ : /^[0-9a-f]{128}$/);
  });

  test.each([
    ["another scope", "rivers", EXP, (sig: string) => sig],
    ["another expiry", SCOPE, EXP + 900, (sig: string) => sig],
    ["a shifted separator", "roads:1", 800_000_000, (sig: string) => sig],
    ["upper case", SCOPE, EXP, (sig: string) => sig.toUpperCase()],
    ["a truncated signature", SCOPE, EXP, (sig: string) => sig.slice(0, -1)],
    ["a longer signature", SCOPE, EXP, (sig: string) => `${sig}0`],
    ["a signature with a line end", SCOPE, EXP, (sig: string) => `${sig}\n`],
    ["an empty signature", SCOPE, EXP, () => ""],
    ["a multi-byte signature of the right length", SCOPE, EXP, (sig: string) => "é".repeat(sig.length)],
    ["digits that aren't hexadecimal", SCOPE, EXP, (sig: string) => "g".repeat(sig.length)],
    ["zeros", SCOPE, EXP, (sig: string) => "0".repeat(sig.length)],
  ])("%s does not verify", (_name, scope, exp, change) => {
    expect(rotated.verifies(scope, exp, change(rotated.sign(SCOPE, EXP)))).toBe(false);
  });

  test("a ring without a key that signs can't be made", () => {
    const other = algorithm === "hmac" ? { ed25519: [seedOf("a")] } : { hmac: [secretOf("a")] };
    expect(() => createSigningKeyRing(algorithm, { ...NONE, ...other })).toThrow("no key that signs");
  });

  test("what else is signed can't be shown as a token", () => {
    expect(() => rotated.signText(`${SCOPE}:${EXP}`)).toThrow();
    expect(() => rotated.signText(`revocations\n${EXP}\nx:${EXP}`)).toThrow();
    const text = `revocations\n${EXP}\n${EXP} ${SCOPE}\n`;
    expect(rotated.signText(text)).not.toBe(rotated.sign(`revocations\n${EXP}\n${EXP} ${SCOPE}\n`, EXP));
  });
});

test("algorithm confusion: a published key, taken for an HMAC secret, signs nothing that verifies", () => {
  const ring = createSigningKeyRing("ed25519", { hmac: [secretOf("own")], ed25519: [seedOf("own")] });
  const [{ x = "" } = {}] = ring.publicKeys();
  const message = `${SCOPE}:${EXP}`;
  for (const known of [x, Buffer.from(x, "base64url"), JSON.stringify(ring.publicKeys()[0])]) {
    for (const hash of ["sha256", "sha512"]) {
      expect(ring.verifies(SCOPE, EXP, createHmac(hash, known).update(message).digest("hex"))).toBe(false);
    }
  }
});

describe("whatever is in the ring", () => {
  const name = fc.stringMatching(/^[a-e]$/);
  const names = fc.uniqueArray(name, { maxLength: 3 });
  const algorithm = fc.constantFrom(...SIGNING_ALGORITHMS);
  const model = fc
    .record({ algorithm, hmac: names, ed25519: names })
    .filter((ring) => ring[ring.algorithm].length > 0);
  const scope = fc.oneof(fc.constant(SCOPE), fc.string({ unit: "binary", minLength: 1 }));
  const create = ({
    algorithm,
    hmac,
    ed25519,
  }: typeof model extends fc.Arbitrary<infer Ring> ? Ring : never) =>
    createSigningKeyRing(algorithm, { hmac: hmac.map(secretOf), ed25519: ed25519.map(seedOf) });

  test("a ring verifies what another signed exactly if it has that key, for that algorithm", () => {
    fc.assert(
      fc.property(model, model, scope, fc.nat(), (signing, verifying, scope, exp) => {
        const [first = ""] = signing[signing.algorithm];
        const sig = create(signing).sign(scope, exp);
        expect(create(verifying).verifies(scope, exp, sig)).toBe(
          verifying[signing.algorithm].includes(first),
        );
      }),
    );
  });

  test("a signature with any digit changed verifies nowhere", () => {
    fc.assert(
      fc.property(
        model,
        scope,
        fc.nat(),
        fc.nat(),
        fc.integer({ min: 1, max: 15 }),
        (ring, scope, exp, at, by) => {
          const keyRing = create(ring);
          const sig = keyRing.sign(scope, exp);
          const index = at % sig.length;
          const digit = (Number.parseInt(sig[index] ?? "", 16) ^ by).toString(16);
          expect(keyRing.verifies(scope, exp, sig.slice(0, index) + digit + sig.slice(index + 1))).toBe(
            false,
          );
        },
      ),
    );
  });

  test("nothing else that is sent as a signature verifies, or fails the call", () => {
    const sent = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.stringMatching(/^[0-9a-f]{64}$/),
      fc.stringMatching(/^[0-9a-fA-F]{128}$/),
    );
    fc.assert(
      fc.property(model, scope, fc.nat(), sent, (ring, scope, exp, sig) => {
        expect(create(ring).verifies(scope, exp, sig)).toBe(false);
      }),
    );
  });
});
