import { createHmac, randomBytes, randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runTilegate } from "../harness/tilegate.mjs";

/** Of 50 datasets: the demo catalog's proportion. Makes answers of 10.9 kB JSON. */
const RASTER_EVERY = 10;
const BATCH = 50;

export const ORIGIN = "https://maps.example.com";
export const SIGNING_KEY = "a secret that only benchmarks sign with";
const JWT_SECRET = "a secret of an identity provider that does not exist";
const SUBJECT = "user-17";

/**
 * @typedef {{ id: string, kind: "vector" | "raster", tableName: string, scope: string }} BenchDataset
 * @typedef {object} Fixture
 * @property {Record<string, string>} env What the service runs with.
 * @property {string} accountId
 * @property {readonly BenchDataset[]} datasets Public, 50 of them.
 * @property {string} apiKey Locked to ORIGIN.
 * @property {string} serviceToken
 * @property {string} jwt
 */

/**
 * An installation with an account, made with the command line.
 * @param {{ databaseUrl: string, redisUrl: string, directory: string }} options
 * @returns {Promise<Fixture>}
 */
export async function createFixture({ databaseUrl, redisUrl, directory }) {
  const env = {
    HOST: "127.0.0.1",
    DATABASE_URL: databaseUrl,
    REDIS_URL: redisUrl,
    TILE_SIGNING_KEYS: SIGNING_KEY,
    ENCRYPTION_KEYS: randomBytes(32).toString("base64"),
    OPERATOR_TOKEN: randomBytes(24).toString("hex"),
    JWT_SECRET,
    // Entries that expire would put database calls into rows that are warm. Their lifetime has rows of its own.
    DATASET_CACHE_TTL_SECONDS: "3600",
    LOG_LEVEL: "warn",
  };
  const datasets = Array.from({ length: BATCH }, (_, index) => {
    const id = randomUUID();
    const tableName = `ne_10m_layer_${String(index).padStart(2, "0")}`;
    return index % RASTER_EVERY === RASTER_EVERY - 1
      ? { id, kind: /** @type {const} */ ("raster"), tableName: "", scope: id }
      : { id, kind: /** @type {const} */ ("vector"), tableName, scope: tableName };
  });
  const catalog = join(directory, "catalog.json");
  const shared = { title: "A layer", visibility: "public", status: "published" };
  await writeFile(
    catalog,
    JSON.stringify(
      datasets.map(({ id, kind, tableName }) =>
        kind === "vector"
          ? { id, kind, table_name: tableName, ...shared }
          : {
              id,
              kind,
              raster: { minzoom: 0, maxzoom: 10, bounds: [-180, -85, 180, 85], format: "png" },
              ...shared,
            },
      ),
    ),
  );
  const { id: accountId = "" } = await tilegate(env, ["account", "create", "--name", "bench"]);
  await tilegate(env, ["datasets", "import", catalog, "--account", accountId]);
  const { token: apiKey = "" } = await tilegate(env, [
    "keys",
    "create",
    "--account",
    accountId,
    "--origin",
    "maps.example.com",
  ]);
  const { token: serviceToken = "" } = await tilegate(env, [
    "service-token",
    "create",
    "--account",
    accountId,
    "--name",
    "bench",
  ]);
  if (!accountId || !apiKey || !serviceToken) throw new Error("the command line's answers have changed");
  return { env, accountId, datasets, apiKey, serviceToken, jwt: signJwt(accountId) };
}

/** @param {Record<string, string>} env @param {readonly string[]} args @returns {Promise<Record<string, string>>} */
async function tilegate(env, args) {
  const { code, stdout, stderr } = await runTilegate([...args, "--json"], env);
  if (code !== 0) throw new Error(`tilegate ${args.join(" ")}: ${stderr}`);
  return JSON.parse(stdout);
}

/** @param {string} account */
function signJwt(account) {
  const encode = (/** @type {object} */ part) => Buffer.from(JSON.stringify(part)).toString("base64url");
  const exp = Math.floor(Date.now() / 1000) + 86_400;
  const signed = `${encode({ alg: "HS256", typ: "JWT" })}.${encode({ sub: SUBJECT, account, roles: ["viewer"], exp })}`;
  return `${signed}.${createHmac("sha256", JWT_SECRET).update(signed).digest("base64url")}`;
}
