import { createVault } from "../dist/domain/api-keys/vault.js";
import { generateSecret } from "../dist/domain/identity/secret.js";

/**
 * Inserts public vector datasets, past the service and its caches.
 * @param {import("./bench.mjs").Bench} bench @param {string} prefix Of their table names. @param {number} count
 * @returns {Promise<import("./fixture.mjs").BenchDataset[]>}
 */
export async function insertDatasets({ sql, fixture }, prefix, count) {
  const { rows } = await sql.query(
    `INSERT INTO datasets (id, account_id, kind, title, table_name, scope, visibility, status, reader_roles,
       reader_subjects, bounds, minzoom, maxzoom, tile_size, format, cache_version, revision, created, changed)
     SELECT gen_random_uuid(), $1, 'vector', 'Layer ' || n, $2 || n, $2 || n, 'public', 'published', '{}', '{}', '{}', 0, 22,
       256, 'png', 1, 1, now(), now()
     FROM generate_series(1, $3::int) n RETURNING id, table_name AS "tableName", scope`,
    [fixture.accountId, prefix, count],
  );
  await sql.query("ANALYZE datasets");
  return rows.map((row) => ({ ...row, kind: "vector" }));
}

/**
 * An account with so many API keys, whose tokens are random bytes that nobody can open.
 * @param {import("./bench.mjs").Bench} bench @param {number} count
 * @returns {Promise<string>} The account's id.
 */
export async function insertKeys({ sql }, count) {
  const { rows } = await sql.query(
    "INSERT INTO accounts (id, name, created) VALUES (gen_random_uuid(), gen_random_uuid()::text, now()) RETURNING id",
  );
  const accountId = rows[0].id;
  await sql.query(
    `INSERT INTO api_keys (id, account_id, name, description, user_agent, origins, enabled, dataset_ids, current_hash,
       current_ciphertext, created, changed, revision)
     SELECT gen_random_uuid(), $1::uuid, 'Key ' || n, '', '', '{maps.example.com}', true, '{}', sha256(($1::uuid::text || n)::bytea),
       sha256(n::text::bytea) || sha256(n::text::bytea), now(), now(), 1
     FROM generate_series(1, $2::int) n`,
    [accountId, count],
  );
  return accountId;
}

/**
 * Gives the keys that a page shows tokens that can be opened.
 * @param {import("./bench.mjs").Bench} bench @param {string} accountId
 * @param {number} offset Of the page in the listing, newest first. @param {number} limit
 * @returns {Promise<{ before: bigint, tokens: readonly string[] }>} The position from which a listing begins with this page, and
 *   its tokens.
 */
export async function sealPage({ sql, fixture }, accountId, offset, limit) {
  const { rows } = await sql.query(
    "SELECT id, seq FROM api_keys WHERE account_id = $1 AND deleted IS NULL ORDER BY seq DESC OFFSET $2 LIMIT $3",
    [accountId, offset, limit],
  );
  const vault = createVault([Buffer.from(fixture.env.ENCRYPTION_KEYS ?? "", "base64")]);
  const tokens = rows.map(() => generateSecret("tgk_"));
  const sealed = rows.map(({ id }, index) =>
    vault.seal(tokens[index] ?? "", { apiKeyId: id, role: "current" }),
  );
  await sql.query(
    `UPDATE api_keys SET current_hash = hash, current_ciphertext = ciphertext
     FROM unnest($1::uuid[], $2::bytea[], $3::bytea[]) AS sealed (id, hash, ciphertext) WHERE api_keys.id = sealed.id`,
    [
      rows.map(({ id }) => id),
      sealed.map(({ lookupHash }) => Buffer.from(lookupHash)),
      sealed.map(({ ciphertext }) => Buffer.from(ciphertext)),
    ],
  );
  return { before: BigInt(rows[0].seq) + 1n, tokens };
}
