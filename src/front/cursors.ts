import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import { invalid } from "../domain/errors.js";
import type { Cursors, Listing } from "../domain/page.js";

/**
 * Random, so that not even equal positions look alike. Were one to repeat, for which a key would have to seal some 2^32
 * pages, it would tell the distance of two positions: what a caller may see doesn't hang on cursors.
 */
const NONCE_BYTES = 12;
const POSITION_BYTES = 8;
const TAG_BYTES = 16;
const CURSOR_BYTES = NONCE_BYTES + POSITION_BYTES + TAG_BYTES;

/**
 * Cursors of 48 characters of standard base64. The byte format is in docs/key-format.md.
 * @param encryptionKeys at least one. The first seals, all open: so cursors outlive a restart, work at every replica, and
 * go with the key that sealed them.
 */
export function createCursors(encryptionKeys: readonly Uint8Array[]): Cursors {
  const ring = encryptionKeys.map((key) =>
    Buffer.from(hkdfSync("sha256", key, "", "tilegate cursor v1", 32)),
  );
  const [first] = ring;
  if (first === undefined) throw new Error("cursors need an encryption key");

  return {
    seal(position, listing) {
      const bytes = Buffer.alloc(POSITION_BYTES);
      bytes.writeBigInt64BE(position);
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv("aes-256-gcm", first, nonce).setAAD(associatedData(listing));
      const encrypted = Buffer.concat([cipher.update(bytes), cipher.final()]);
      return Buffer.concat([nonce, encrypted, cipher.getAuthTag()]).toString("base64");
    },

    open(cursor, listing) {
      // A client that put it into a URL without encoding it sent a blank for each "+".
      const text = cursor.replaceAll(" ", "+");
      const bytes = Buffer.from(text, "base64");
      const isWhole = bytes.length === CURSOR_BYTES && bytes.toString("base64") === text;
      for (const key of isWhole ? ring : []) {
        const position = tryOpen(key, bytes, listing);
        if (position !== undefined) return position;
      }
      throw invalid("cursor", "is malformed");
    },
  };
}

function tryOpen(key: Buffer, bytes: Buffer, listing: Listing): bigint | undefined {
  const nonce = bytes.subarray(0, NONCE_BYTES);
  const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(associatedData(listing)).setAuthTag(bytes.subarray(-TAG_BYTES));
  const position = decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES));
  try {
    decipher.final();
  } catch {
    return undefined;
  }
  return position.readBigInt64BE();
}

const associatedData = ({ of, accountId = "*" }: Listing): Buffer => Buffer.from(`${of}:${accountId}`);
