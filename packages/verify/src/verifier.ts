import type { IsRevoked, IsSigned } from "./revocations.js";
import { opens, toTilePaths } from "./tile-paths.js";
import { readTileRequest } from "./tile-request.js";

/** As at Tilegate's `/.well-known/jwks.json`. */
export interface Ed25519PublicKey {
  readonly kty: "OKP";
  readonly crv: "Ed25519";
  /** 32 bytes, base64url. */
  readonly x: string;
  /** A private key has no place here. */
  readonly d?: never;
}

export interface VerifierOptions {
  /** The ring: secrets (HMAC), of 16 bytes at least in UTF-8, and public keys (Ed25519). With none, no token is good. */
  readonly keys: readonly (string | Ed25519PublicKey)[];
  /** Presets and templates as in TILE_PATHS, which aren't checked here. Default: `geolens` and `martin`. */
  readonly paths?: readonly string[];
  /** `pollRevocations(url)`, or your own. Default: tokens are good until they expire. */
  readonly revocations?: IsRevoked;
  /** How long tokens are taken after their expiry. Default: 0. */
  readonly clockSkewSeconds?: number;
}

/**
 * malformed: two servers could read the request differently. missing: no token. path: no template matches. scope: the token is
 * another dataset's, or the path names several.
 */
export type Refusal = "malformed" | "missing" | "expired" | "signature" | "path" | "scope" | "revoked";

export type Verdict =
  | { readonly valid: true; readonly scope: string /** Unix seconds. */; readonly exp: number }
  | { readonly valid: false; readonly reason: Refusal };

export interface Verifier {
  /**
   * @param url The request's, as it was received: absolute, or a target that begins with `/`. Whatever it is, there is a verdict: this
   *   rejects only if the runtime can't use a key, or `revocations` rejects.
   */
  verify(url: string | URL): Promise<Verdict>;
}

/** An authority as all read it. */
const ORIGIN = /^https?:\/\/[^/?#\\]+/i;

const utf8 = new TextEncoder();

const refused = (reason: Refusal): Verdict => ({ valid: false, reason });

/** As many layers as maps of one edge show at once, or so: each has one token in a window, for all of its tiles. */
const MAX_KNOWN = 999;

/** A key is of one algorithm, and so is a signature, by its length: neither is ever tried with the other's. */
const createCheck = (key: string | Ed25519PublicKey): IsSigned => {
  const isSecret = typeof key === "string";
  const data: { length?: number; d?: unknown } = isSecret ? utf8.encode(key) : key;
  if ("d" in data || (data.length as number) < 16) throw new TypeError("bad key");
  const algorithm = isSecret ? { name: "HMAC", hash: "SHA-256" } : "Ed25519";
  let imported: Promise<CryptoKey> | undefined;
  return async (text, sig) => {
    if (!sig[64] !== isSecret) return false;
    // Once, and not before it is needed: Workers compute nothing while they load.
    imported ??= crypto.subtle.importKey(isSecret ? "raw" : "jwk", data, algorithm, false, ["verify"]);
    return crypto.subtle.verify(
      algorithm,
      await imported,
      new Uint8Array((sig.match(/../g) as string[]).map((digits) => +`0x${digits}`)),
      utf8.encode(text),
    );
  };
};

/** @throws TypeError of a secret that is too short, and of a private key. */
export const createVerifier = ({
  keys,
  paths = ["geolens", "martin"],
  revocations,
  clockSkewSeconds = 0,
}: VerifierOptions): Verifier => {
  const tilesOf = toTilePaths(paths);
  const ring = keys.map(createCheck);
  /** Good ones alone: nobody else can fill it. */
  const known = new Set<string>();

  const isSigned: IsSigned = async (text, sig) => {
    for (const check of ring) if (await check(text, sig)) return true;
    return false;
  };

  return {
    async verify(url) {
      const request = readTileRequest(`${url}`.replace(ORIGIN, ""));
      if (!request) return refused("malformed");
      if (!request.token) return refused("missing");
      const { sig, exp, scope } = request.token;
      // Not `<=`: by a skew that is no number nothing lives.
      if (!(exp > Date.now() / 1000 - clockSkewSeconds)) return refused("expired");
      const text = `${scope}:${exp}`;
      if (!known.has(text + sig)) {
        if (!(await isSigned(text, sig))) return refused("signature");
        if (known.size > MAX_KNOWN) known.clear();
        known.add(text + sig);
      }
      const tiles = tilesOf(request.path);
      if (!tiles) return refused("path");
      if (!opens(scope, tiles)) return refused("scope");
      if (await revocations?.(scope, exp, isSigned)) return refused("revoked");
      return { valid: true, scope, exp };
    },
  };
};
