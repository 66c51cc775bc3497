// The first page of an account's keys, as one would write it by hand: no authentication, no validation, no total, no cursor.
// Connect's JSON. The bytes of a sealed token are in docs/key-format.md.
import { createDecipheriv, hkdfSync } from "node:crypto";
import pg from "pg";
import { serveJson } from "./json-server.mjs";

const NONCE_AT = 9;
const ENCRYPTED_AT = NONCE_AT + 12;
const TAG_BYTES = 16;

const secret = Buffer.from(process.env.ENCRYPTION_KEYS ?? "", "base64");
const key = Buffer.from(hkdfSync("sha256", secret, "", "tilegate api key encryption v1", 32));
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 });

/** @param {Buffer} sealed @param {string} id */
function open(sealed, id) {
  const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(NONCE_AT, ENCRYPTED_AT));
  decipher.setAAD(Buffer.concat([sealed.subarray(0, NONCE_AT), Buffer.from(`current:${id}`)]));
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  return (
    decipher.update(sealed.subarray(ENCRYPTED_AT, -TAG_BYTES), undefined, "utf8") + decipher.final("utf8")
  );
}

serveJson(async ({ accountId, limit }) => {
  const { rows } = await pool.query(
    "SELECT * FROM api_keys WHERE account_id = $1 AND deleted IS NULL ORDER BY seq DESC LIMIT $2",
    [accountId, limit],
  );
  return {
    apiKeys: rows.map((row) => ({
      id: row.id,
      accountId: row.account_id,
      token: open(row.current_ciphertext, row.id),
      name: row.name,
      description: row.description,
      userAgent: row.user_agent,
      origins: row.origins,
      enabled: row.enabled,
      datasetIds: row.dataset_ids,
    })),
  };
});
