import pg from "pg";
import { OTHER_CORE } from "../harness/cores.mjs";
import * as servers from "../harness/servers.mjs";

/** @typedef {AsyncDisposable & { readonly url: string }} Database */

/** @returns {Promise<Database>} A PostgreSQL of our own, else a database of our own on the one of TEST_DATABASE_URL. */
export async function startPostgres() {
  if (!servers.canStartPostgres()) return createDatabase(process.env.TEST_DATABASE_URL);
  // Default settings but for memory: a server of this size has more than 128 MB.
  return servers.startPostgres({
    settings: { shared_buffers: "512MB", max_wal_size: "4GB" },
    core: OTHER_CORE,
  });
}

/** @returns {Promise<Database>} A Redis of our own, else that of TEST_REDIS_URL: keys carry the installation's id. */
export async function startRedis() {
  if (servers.canStartRedis()) return servers.startRedis({ core: OTHER_CORE });
  const url = process.env.TEST_REDIS_URL;
  if (!url) throw new Error("neither redis-server nor TEST_REDIS_URL");
  return { url, [Symbol.asyncDispose]: async () => {} };
}

/** @param {string | undefined} serverUrl @returns {Promise<Database>} */
async function createDatabase(serverUrl) {
  if (!serverUrl) throw new Error("neither PostgreSQL's programs nor TEST_DATABASE_URL");
  const name = `tilegate_bench_${process.pid}`;
  const admin = new pg.Client({ connectionString: serverUrl });
  await admin.connect();
  await admin.query(`CREATE DATABASE ${name}`);
  const url = new URL(serverUrl);
  url.pathname = name;
  return {
    url: url.href,
    [Symbol.asyncDispose]: async () => {
      await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
      await admin.end();
    },
  };
}
