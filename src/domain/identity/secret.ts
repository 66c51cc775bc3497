import { createHash, randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";

/** `tgk_` begins publishable API keys, `tgs_` service tokens. */
export type SecretPrefix = "tgk_" | "tgs_";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM_BYTES = 20;
/** 62^27 > 2^160. */
const BODY_LENGTH = 27;
/** 62^6 > 2^32. */
const CHECKSUM_LENGTH = 6;
const BODY_AND_CHECKSUM = new RegExp(`^[0-9A-Za-z]{${BODY_LENGTH + CHECKSUM_LENGTH}}$`);

/** A new secret: prefix, 160 random bits, checksum. The format is written down in docs/key-format.md. */
export function generateSecret(prefix: SecretPrefix): string {
  const random = BigInt(`0x${randomBytes(RANDOM_BYTES).toString("hex")}`);
  const unsigned = prefix + base62(random, BODY_LENGTH);
  return unsigned + checksum(unsigned);
}

/**
 * Whether `text` has the form of a secret. Anything else was never issued and needs no look-up. The checksum
 * catches typing errors and guesses made up by scanners; it proves nothing.
 */
export function isWellFormedSecret(prefix: SecretPrefix, text: string): boolean {
  if (!text.startsWith(prefix) || !BODY_AND_CHECKSUM.test(text.slice(prefix.length))) return false;
  return checksum(text.slice(0, -CHECKSUM_LENGTH)) === text.slice(-CHECKSUM_LENGTH);
}

/** What is stored of a service token: SHA-256, 32 bytes. 160 random bits leave nothing to guess, so no slow hash. */
export function hashSecret(secret: string): Uint8Array {
  return createHash("sha256").update(secret).digest();
}

function checksum(text: string): string {
  return base62(BigInt(crc32(text)), CHECKSUM_LENGTH);
}

function base62(value: bigint, length: number): string {
  let digits = "";
  for (let rest = value; digits.length < length; rest /= 62n) digits = ALPHABET[Number(rest % 62n)] + digits;
  return digits;
}
