// A batch that nothing is known of, as one would write it by hand: the rows that Tilegate reads, read by pg; no cache, no
// authentication, no validation, no access decision. Connect's JSON, for public vector datasets.
import pg from "pg";
import { serveJson } from "./json-server.mjs";
import { expiryNow, signatureOf } from "./tokens.mjs";

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 });

serveJson(async ({ datasetIds }) => {
  const { rows } = await pool.query("SELECT * FROM datasets WHERE id = ANY($1::uuid[]) AND deleted IS NULL", [
    datasetIds,
  ]);
  const { exp, expiresIn } = expiryNow();
  /** @type {Record<string, object>} */
  const tokens = {};
  for (const { id, scope } of rows)
    tokens[id] = { vector: { sig: signatureOf(scope, exp), exp, scope, expiresIn } };
  return { tokens };
});
