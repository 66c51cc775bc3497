import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from "node:crypto";
import type { SealedToken } from "./api-key.js";

/** The place of a token. A ciphertext opens nowhere else, so rows can't be swapped. */
export interface TokenPlace {
  readonly apiKeyId: string;
  readonly role: "current" | "previous";
}

/** Keeps tokens so that the database alone yields none. The byte format is in docs/key-format.md. */
export interface Vault {
  /** Encrypts and hashes under the first key of the ring. */
  seal(token: string, place: TokenPlace): SealedToken;
  /** @throws VaultError for a ciphertext of another place, of an unknown key, or tampered with. */
  open(sealed: SealedToken, place: TokenPlace): string;
  /** The token's look-up hash under each key of the ring; the first is the one that `seal` writes. */
  lookupHashes(token: string): readonly [Uint8Array, ...Uint8Array[]];
  /** Whether a later key than the one that sealed it is now the first. */
  needsReencryption(sealed: SealedToken): boolean;
}

/** A stored token can't be opened: the key ring is wrong, or somebody wrote to the row. */
export class VaultError extends Error {
  override readonly name = "VaultError";
}

interface RingKey {
  /** Names the key in a ciphertext without telling anything about it. */
  readonly fingerprint: Buffer;
  readonly encryptionKey: Buffer;
  readonly lookupKey: Buffer;
}

const ENCRYPTION_KEY_BYTES = 32;
const VERSION = 1;
const FINGERPRINT_BYTES = 8;
/** 96 random bits: below 2^32 tokens a key, far more than there will be, a repeated nonce is out of question. */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEADER_BYTES = 1 + FINGERPRINT_BYTES;

/** @param encryptionKeys at least one, 32 bytes each. The first encrypts, all decrypt. */
export function createVault(encryptionKeys: readonly Uint8Array[]): Vault {
  const [first, ...others] = encryptionKeys.map(deriveRingKey);
  if (first === undefined) throw new Error("a vault needs an encryption key");
  const ring = [first, ...others];

  return {
    seal(token, place) {
      const header = Buffer.concat([Buffer.of(VERSION), first.fingerprint]);
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv("aes-256-gcm", first.encryptionKey, nonce);
      cipher.setAAD(associatedData(header, place));
      const encrypted = Buffer.concat([cipher.update(token, "utf8"), cipher.final()]);
      return {
        lookupHash: lookupHash(first, token),
        ciphertext: Buffer.concat([header, nonce, encrypted, cipher.getAuthTag()]),
      };
    },

    open(sealed, place) {
      const bytes = Buffer.from(sealed.ciphertext);
      const header = bytes.subarray(0, HEADER_BYTES);
      const nonce = bytes.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES);
      const encrypted = bytes.subarray(HEADER_BYTES + NONCE_BYTES, -TAG_BYTES);
      const fail = (what: string, cause?: unknown) =>
        new VaultError(`the ${place.role} token of API key ${place.apiKeyId} ${what}`, { cause });
      if (header[0] !== VERSION) throw fail("is in an unknown format");
      const key = ring.find(({ fingerprint }) => fingerprint.equals(header.subarray(1)));
      if (key === undefined) throw fail("is encrypted under a key that is not in ENCRYPTION_KEYS");
      try {
        const decipher = createDecipheriv("aes-256-gcm", key.encryptionKey, nonce, {
          authTagLength: TAG_BYTES,
        });
        decipher.setAAD(associatedData(header, place)).setAuthTag(bytes.subarray(-TAG_BYTES));
        return decipher.update(encrypted, undefined, "utf8") + decipher.final("utf8");
      } catch (error) {
        throw fail("is not what was encrypted there", error);
      }
    },

    lookupHashes: (token) => [lookupHash(first, token), ...others.map((key) => lookupHash(key, token))],

    needsReencryption: ({ ciphertext }) =>
      !first.fingerprint.equals(Buffer.from(ciphertext).subarray(1, HEADER_BYTES)),
  };
}

function deriveRingKey(encryptionKey: Uint8Array): RingKey {
  if (encryptionKey.length !== ENCRYPTION_KEY_BYTES) {
    throw new Error(`an encryption key has ${ENCRYPTION_KEY_BYTES} bytes`);
  }
  // A key for each purpose: what one of them reveals, such as a fingerprint, says nothing about the others.
  const derive = (purpose: string, length: number) =>
    Buffer.from(hkdfSync("sha256", encryptionKey, "", `tilegate api key ${purpose} v1`, length));
  return {
    fingerprint: derive("fingerprint", FINGERPRINT_BYTES),
    encryptionKey: derive("encryption", 32),
    lookupKey: derive("look-up", 32),
  };
}

function lookupHash({ lookupKey }: RingKey, token: string): Uint8Array {
  return createHmac("sha256", lookupKey).update(token).digest();
}

function associatedData(header: Buffer, { apiKeyId, role }: TokenPlace): Buffer {
  return Buffer.concat([header, Buffer.from(`${role}:${apiKeyId}`)]);
}
