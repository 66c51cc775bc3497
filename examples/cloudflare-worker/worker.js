import { PMTiles, ResolvedValueCache } from "pmtiles";
import { createVerifier, pollRevocations } from "tilegate/verify";

// Tiles of PMTiles archives in a bucket that nobody else can read, for who has a token. Whether Tilegate is there doesn't matter.
//
//   /{table}/{z}/{x}/{y}.{ext} and /{table}.json, of the archive {table}.pmtiles

/** By the archives' tile type. */
const TYPES = {
  1: "application/x-protobuf",
  2: "image/png",
  3: "image/jpeg",
  4: "image/webp",
  5: "image/avif",
};
const TARGET = /^\/([\w-]+)(?:\/(\d+)\/(\d+)\/(\d+)\.\w+|\.json)$/;

/** Headers and directories, of all archives that this isolate has read. */
const directories = new ResolvedValueCache(50);

let verifier;

export default {
  async fetch(request, env, context) {
    if (request.method !== "GET" && request.method !== "HEAD") return answer(405);
    verifier ??= createVerifier({
      keys: env.TILE_SIGNING_KEYS.split(","),
      paths: ["pmtiles"],
      // While Tilegate is down the last list counts.
      ...(env.REVOCATIONS_URL && { revocations: pollRevocations(env.REVOCATIONS_URL) }),
    });
    // Before anything else, the cache too: it would give to all what one was let see.
    const verdict = await verifier.verify(request.url);
    if (!verdict.valid) {
      const { reason } = verdict;
      return reason === "missing"
        ? answer(401, null, { "x-tilegate-reason": reason, "www-authenticate": "Bearer" })
        : answer(403, null, { "x-tilegate-reason": reason });
    }

    // By the URL without its token, which is another one every 15 minutes.
    const { origin, pathname } = new URL(request.url);
    const unsigned = new Request(origin + pathname);
    const cached = await caches.default.match(unsigned);
    if (cached) return forPages(cached);
    const read = await fromArchive(env.ARCHIVES, origin, pathname);
    if (read.status === 200) context.waitUntil(caches.default.put(unsigned, read.clone()));
    return forPages(read);
  },
};

async function fromArchive(bucket, origin, pathname) {
  const [, table, z, x, y] = TARGET.exec(pathname) ?? [];
  if (table === undefined) return answer(404);
  const archive = new PMTiles(new BucketSource(bucket, `${table}.pmtiles`), directories);
  try {
    const { tileType, minZoom, maxZoom } = await archive.getHeader();
    if (z === undefined)
      return answer(200, JSON.stringify(await archive.getTileJson(`${origin}/${table}`)), {
        "content-type": "application/json",
      });
    if (z < minZoom || z > maxZoom || x >= 2 ** z || y >= 2 ** z) return answer(404);
    const tile = await archive.getZxy(Number(z), Number(x), Number(y));
    return tile
      ? answer(200, tile.data, { "content-type": TYPES[tileType] ?? "application/octet-stream" })
      : answer(204);
  } catch (error) {
    if (error instanceof NoArchiveError) return answer(404);
    throw error;
  }
}

class NoArchiveError extends Error {}

class BucketSource {
  constructor(bucket, name) {
    this.bucket = bucket;
    this.name = name;
  }

  getKey() {
    return this.name;
  }

  async getBytes(offset, length) {
    const object = await this.bucket.get(this.name, { range: { offset, length } });
    if (!object) throw new NoArchiveError(this.name);
    return { data: await object.arrayBuffer(), etag: object.etag };
  }
}

/** Kept here for a day, for whoever has a token by then. */
const answer = (status, body = null, headers = {}) =>
  new Response(body, {
    status,
    headers: {
      "access-control-allow-origin": "*",
      "access-control-expose-headers": "X-Tilegate-Reason",
      "cache-control": status === 200 ? "public, max-age=86400" : "no-store",
      ...headers,
    },
  });

/** No cache between this and the page gets to give it to others. */
function forPages(response) {
  const own = new Response(response.body, response);
  if (own.status === 200) own.headers.set("cache-control", "private, max-age=3600");
  return own;
}
