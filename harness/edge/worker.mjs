// examples/cloudflare-worker in workerd, the runtime of Cloudflare Workers, with what Cloudflare has around it: a bucket and a cache.
import { createHash } from "node:crypto";
import { once } from "node:events";
import { copyFile, readdir, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { ROOT } from "../node-process.mjs";
import { freePort } from "../ports.mjs";
import { programDirectory, startProgram } from "./program.mjs";
import { edgeProgram, NODE_MODULES } from "./programs.mjs";

/**
 * @typedef {import("./program.mjs").Program & { readonly bucketReads: number, readonly cachedUrls: readonly string[] }} EdgeWorker
 *   `bucketReads`: how often it has read of the bucket. `cachedUrls`: what its cache has.
 */

/**
 * @param {{ archives: Readonly<Record<string, Buffer>>, signingKeys: readonly string[], tilegate?: string }} options `archives`: the
 *   bucket's objects. `tilegate`: URL of the service, for its list of revocations. @returns {Promise<EdgeWorker>}
 */
export async function startWorker({ archives, signingKeys, tilegate }) {
  const directory = await programDirectory();
  const port = await freePort();
  const bucket = await startBucket(archives);
  const cache = await startCache();

  const verify = join(ROOT, "packages/verify/dist");
  const scripts = (await readdir(verify)).filter((name) => name.endsWith(".js") && name !== "index.js");
  const modules = {
    "worker.js": join(ROOT, "examples/cloudflare-worker/worker.js"),
    "tilegate/verify": join(verify, "index.js"),
    ...Object.fromEntries(scripts.map((name) => [`tilegate/${name}`, join(verify, name)])),
    pmtiles: join(NODE_MODULES, "pmtiles/dist/esm/index.js"),
    fflate: join(NODE_MODULES, "fflate/esm/browser.js"),
  };
  const embedded = [];
  for (const [i, [name, path]] of Object.entries(modules).entries()) {
    // What a configuration embeds is beside it.
    await copyFile(path, join(directory.path, `${i}.js`));
    embedded.push(`(name = "${name}", esModule = embed "${i}.js")`);
  }
  const outside = (/** @type {string} */ name, /** @type {number} */ at) =>
    `(name = "${name}", external = (address = "127.0.0.1:${at}", http = ()))`;
  const config = join(directory.path, "config.capnp");
  await writeFile(
    config,
    `using Workerd = import "/workerd/workerd.capnp";
const worker :Workerd.Worker = (
  modules = [${embedded.join(", ")}],
  compatibilityDate = "2026-11-01",
  bindings = [
    (name = "ARCHIVES", r2Bucket = "bucket"),
    (name = "TILE_SIGNING_KEYS", text = ${JSON.stringify(signingKeys.join(","))}),
    ${tilegate ? `(name = "REVOCATIONS_URL", text = "${tilegate}/.well-known/tilegate/revocations"),` : ""}
  ],
  cacheApiOutbound = "cache",
);
const config :Workerd.Config = (
  services = [
    (name = "worker", worker = .worker),
    # Also this machine, which Workers elsewhere can't reach.
    (name = "internet", network = (allow = ["public", "private", "local"])),
    ${outside("bucket", bucket.port)}, ${outside("cache", cache.port)},
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "worker")],
);
`,
  );
  const around = async () => {
    await bucket.close();
    await cache.close();
  };
  const program = await startProgram(edgeProgram("workerd"), ["serve", config], { port, directory }).catch(
    async (error) => {
      await around();
      throw error;
    },
  );
  return {
    url: program.url,
    port,
    get output() {
      return program.output;
    },
    get bucketReads() {
      return bucket.reads();
    },
    get cachedUrls() {
      return cache.urls();
    },
    stop: () => program.stop(),
    [Symbol.asyncDispose]: async () => {
      await program[Symbol.asyncDispose]();
      await around();
    },
  };
}

/** What workerd asks of an R2 bucket when a Worker reads. @param {Readonly<Record<string, Buffer>>} objects */
async function startBucket(objects) {
  let reads = 0;
  const server = createServer((request, response) => {
    reads++;
    const asked = JSON.parse(String(request.headers["cf-r2-request"]));
    const object = objects[asked.object];
    if (asked.method !== "get" || object === undefined) {
      const error = { version: 1, v4code: 10_007, message: "The specified key does not exist." };
      response.writeHead(404, { "cf-r2-error": JSON.stringify(error) }).end();
      return;
    }
    const etag = createHash("md5").update(object).digest("hex");
    const offset = Number(asked.range?.offset ?? 0);
    const bytes = object.subarray(offset, offset + Number(asked.range?.length ?? object.length));
    const range = { offset: String(offset), length: String(bytes.length) };
    const metadata = Buffer.from(
      JSON.stringify({
        ...{ name: asked.object, version: etag, etag, size: String(object.length), uploaded: "0" },
        ...{ httpFields: {}, customFields: [], range, checksums: {} },
      }),
    );
    response.writeHead(200, { "cf-r2-metadata-size": String(metadata.length) });
    response.end(Buffer.concat([metadata, bytes]));
  });
  return { ...(await listen(server)), reads: () => reads };
}

/** What workerd asks of `caches.default`: whole answers, as they are on the wire. */
async function startCache() {
  /** @type {Map<string, Buffer>} */
  const kept = new Map();
  const server = createServer(async (request, response) => {
    const { pathname, search } = new URL(request.url ?? "", "http://site");
    const url = `http://${request.headers.host}${pathname}${search}`;
    if (request.method === "PUT") {
      kept.set(url, await buffer(request));
      response.writeHead(204).end();
      return;
    }
    const found = kept.get(url);
    if (found === undefined) {
      response.writeHead(504, { "cf-cache-status": "MISS" }).end();
      return;
    }
    const end = found.indexOf("\r\n\r\n");
    const lines = found.subarray(0, end).toString().split("\r\n").slice(1);
    const headers = lines.map((line) => line.split(/: ?(.*)/s, 2));
    response.writeHead(200, { ...Object.fromEntries(headers), "cf-cache-status": "HIT" });
    response.end(found.subarray(end + 4));
  });
  return { ...(await listen(server)), urls: () => [...kept.keys()] };
}

/** @param {import("node:http").Server} server */
async function listen(server) {
  const port = await freePort();
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return {
    port,
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
