import {
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  type KeyObject,
  sign,
  timingSafeEqual,
  verify,
} from "node:crypto";

/** A key is of one of these and never serves the other. */
export const SIGNING_ALGORITHMS = ["hmac", "ed25519"] as const;

export type SigningAlgorithm = (typeof SIGNING_ALGORITHMS)[number];

/** Of each algorithm the first signs, if that algorithm does; all verify. */
export interface SigningKeys {
  /** Secrets, used as UTF-8 bytes. */
  readonly hmac: readonly string[];
  /** Seeds (RFC 8032's private keys), 32 bytes each. */
  readonly ed25519: readonly Uint8Array[];
}

/** A key that verifies and can't sign, as a JSON Web Key (RFC 8037). */
export interface PublicKey {
  readonly kty: "OKP";
  readonly crv: "Ed25519";
  /** 32 bytes, base64url. */
  readonly x: string;
  /** The key's thumbprint (RFC 7638), so that a key has the same name wherever it is published. */
  readonly kid: string;
  readonly alg: "EdDSA";
  readonly use: "sig";
}

/** Keys that may be replaced while they are in use. */
export interface SigningKeyRing {
  /** Of `{scope}:{exp}`, in lower-case hex: 64 digits of HMAC-SHA256, or 128 of Ed25519. */
  sign(scope: string, exp: number): string;
  /**
   * Whether any key of the ring made `sig`: keys of the algorithm that its length names, no other. Takes the same time whichever
   * it was, and if none was.
   */
  verifies(scope: string, exp: number, sig: string): boolean;
  /** Of another text than a token's, under the same key. @throws for one that could be taken for a token's. */
  signText(text: string): string;
  /** Those whose signatures anybody may verify. */
  publicKeys(): readonly PublicKey[];
  /** Grows with each replacement: the key of what was signed before may be gone. */
  generation(): number;
  /**
   * From now on these alone sign and verify.
   * @returns Whether they are others than before. @throws without a key that signs, and changes nothing then.
   */
  replace(keys: SigningKeys): boolean;
}

/** What the length of a signature in hex says of its algorithm. */
const HMAC_DIGITS = 64;
const ED25519_SIGNATURE = /^[0-9a-f]{128}$/;

/** A PKCS #8 private key without its seed (RFC 8410). */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");

interface KeyPair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly published: PublicKey;
}

/** Keys as node:crypto takes them. */
interface LoadedKeys {
  readonly hmac: readonly KeyObject[];
  readonly ed25519: readonly KeyPair[];
  readonly signText: (text: string) => string;
}

/** @param algorithm What signs: it has a key at least. */
export function createSigningKeyRing(algorithm: SigningAlgorithm, keys: SigningKeys): SigningKeyRing {
  let given = textOf(keys);
  let loaded = load(algorithm, keys);
  let generation = 0;
  return {
    sign: (scope, exp) => loaded.signText(messageOf(scope, exp)),
    verifies(scope, exp, sig) {
      const message = messageOf(scope, exp);
      const isMadeBy =
        sig.length === HMAC_DIGITS
          ? loaded.hmac.map((key) => isHmac(key, message, sig))
          : loaded.ed25519.map(({ publicKey }) => isEd25519(publicKey, message, sig));
      return isMadeBy.includes(true);
    },
    signText(text) {
      if (/:\d+$/.test(text)) throw new Error("a text that ends like a token's message is not signed");
      return loaded.signText(text);
    },
    publicKeys: () => loaded.ed25519.map(({ published }) => published),
    generation: () => generation,
    replace(keys) {
      const text = textOf(keys);
      if (text === given) return false;
      loaded = load(algorithm, keys);
      given = text;
      generation += 1;
      return true;
    },
  };
}

/** Equal for the same keys in the same order only. */
const textOf = ({ hmac, ed25519 }: SigningKeys): string =>
  JSON.stringify([hmac, ed25519.map((seed) => Buffer.from(seed).toString("base64"))]);

function load(algorithm: SigningAlgorithm, keys: SigningKeys): LoadedKeys {
  const hmac = keys.hmac.map((secret) => createSecretKey(secret, "utf8"));
  const ed25519 = keys.ed25519.map(toKeyPair);
  return { hmac, ed25519, signText: signerOf(algorithm, hmac[0], ed25519[0]) };
}

const messageOf = (scope: string, exp: number): string => `${scope}:${exp}`;

function signerOf(
  algorithm: SigningAlgorithm,
  hmacKey: KeyObject | undefined,
  keyPair: KeyPair | undefined,
): (text: string) => string {
  if (algorithm === "hmac" && hmacKey !== undefined) return (text) => hmacOf(hmacKey, text);
  if (algorithm === "ed25519" && keyPair !== undefined) {
    return (text) => sign(null, Buffer.from(text), keyPair.privateKey).toString("hex");
  }
  throw new Error("the ring has no key that signs");
}

const hmacOf = (key: KeyObject, text: string): string => createHmac("sha256", key).update(text).digest("hex");

function isHmac(key: KeyObject, message: string, sig: string): boolean {
  const actual = Buffer.from(sig);
  const expected = Buffer.from(hmacOf(key, message));
  return expected.length === actual.length && timingSafeEqual(expected, actual);
}

/** In one form only, else a token had several that all verify: upper case, or digits that Node.js doesn't read. */
const isEd25519 = (key: KeyObject, message: string, sig: string): boolean =>
  ED25519_SIGNATURE.test(sig) && verify(null, Buffer.from(message), key, Buffer.from(sig, "hex"));

function toKeyPair(seed: Uint8Array): KeyPair {
  const privateKey = createPrivateKey({
    key: Buffer.concat([PKCS8_PREFIX, seed]),
    format: "der",
    type: "pkcs8",
  });
  const publicKey = createPublicKey(privateKey);
  const { x = "" } = publicKey.export({ format: "jwk" });
  // The members that RFC 7638 wants, in its order and without blanks.
  const thumbprint = createHash("sha256").update(JSON.stringify({ crv: "Ed25519", kty: "OKP", x }));
  const kid = thumbprint.digest("base64url");
  return {
    privateKey,
    publicKey,
    published: { kty: "OKP", crv: "Ed25519", x, kid, alg: "EdDSA", use: "sig" },
  };
}
