import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { vectorArchive } from "../../harness/edge/pmtiles.mjs";
import { missingPrograms } from "../../harness/edge/programs.mjs";
import { type EdgeWorker, startWorker } from "../../harness/edge/worker.mjs";
import { eventually } from "../harness/eventually.js";
import { ask } from "./request.js";
import { hostileRequests, now, OTHER_TABLE, signed, TABLE } from "./tile-requests.js";
import { datasetOf, startEdgeService } from "./tilegate.js";

const SIGNING_KEY = "a-signing-secret-of-the-edge's-tests";
const PREVIOUS_KEY = "the-signing-secret-that-was-before-it";

describe.skipIf(missingPrograms(["workerd"]).length > 0)("a Cloudflare Worker over PMTiles", () => {
  let site: EdgeWorker;
  beforeAll(async () => {
    const archives = Object.fromEntries(
      [TABLE, OTHER_TABLE].map((table) => [`${table}.pmtiles`, vectorArchive(table, 3)]),
    );
    site = await startWorker({ archives, signingKeys: [SIGNING_KEY, PREVIOUS_KEY] });
  });
  afterAll(() => site?.[Symbol.asyncDispose]());

  const token = (scope = TABLE, exp = now() + 600, key = SIGNING_KEY) => signed(scope, exp, key);

  test("gives who has a good token the tile's bytes, and the TileJSON, without asking anybody", async () => {
    for (const key of [SIGNING_KEY, PREVIOUS_KEY]) {
      const { status, body, headers } = await ask(
        site.url,
        `/${TABLE}/2/1/3.mvt?${token(TABLE, now() + 600, key)}`,
      );
      expect([status, headers["content-type"]]).toEqual([200, "application/x-protobuf"]);
      expect(body.toString()).toContain(`${TABLE}/2/1/3`);
      expect(headers["access-control-allow-origin"]).toBe("*");
      expect(headers["cache-control"]).toBe("private, max-age=3600");
    }
    const tileJson = await ask(site.url, `/${TABLE}.json?${token()}`);
    expect(JSON.parse(tileJson.body.toString())).toMatchObject({
      tilejson: "3.0.0",
      name: TABLE,
      tiles: [`${site.url}/${TABLE}/{z}/{x}/{y}.mvt`],
    });
    for (const path of [`/${TABLE}/4/0/0.mvt`, `/${TABLE}/1/9/0.mvt`])
      expect([path, (await ask(site.url, `${path}?${token()}`)).status]).toEqual([path, 404]);
    expect((await ask(site.url, `/ne_lakes/0/0/0.mvt?${token("ne_lakes")}`)).status).toBe(404);
  });

  test("reads the bucket once for a tile, whatever the token, and keeps it without", async () => {
    const path = `/${OTHER_TABLE}/3/5/2.mvt`;
    const first = await ask(site.url, `${path}?${token(OTHER_TABLE)}`);
    await eventually(async () => site.cachedUrls.some((url) => url.endsWith(path)));
    const reads = site.bucketReads;
    const again = await ask(site.url, `${path}?${token(OTHER_TABLE, now() + 900)}&v=2`);
    expect([again.status, again.body]).toEqual([200, first.body]);
    expect(again.headers["cache-control"]).toBe("private, max-age=3600");
    expect(site.bucketReads).toBe(reads);
    expect(site.cachedUrls.filter((url) => /sig|exp|scope|\?/.test(url))).toEqual([]);
  });

  test("tells a page why it is refused, of a tile in the cache, too", async () => {
    const path = `/${TABLE}/1/0/0.mvt`;
    expect((await ask(site.url, `${path}?${token()}`)).status).toBe(200);
    await eventually(async () => site.cachedUrls.some((url) => url.endsWith(path)));
    const cases: readonly [string, number, string][] = [
      [path, 401, "missing"],
      [`${path}?${token(TABLE, now())}`, 403, "expired"],
      [`${path}?${token(TABLE, now() + 600, "another-installation's-secret")}`, 403, "signature"],
      [`${path}?${token(OTHER_TABLE)}`, 403, "scope"],
      [`${path}?${token()}&sig=x`, 403, "malformed"],
    ];
    for (const [target, wanted, reason] of cases) {
      const { status, headers } = await ask(site.url, target);
      expect([target, status, headers["x-tilegate-reason"]]).toEqual([target, wanted, reason]);
      expect(headers["access-control-allow-origin"]).toBe("*");
      expect(headers["cache-control"]).toBe("no-store");
    }
  });

  test("gives no hostile request any other tile than its token opens", async () => {
    const passed: string[] = [];
    for (const { attack, target, headers = {} } of hostileRequests(SIGNING_KEY)) {
      const own = target.replace("/data/", "/").replaceAll(`/data/`, "/").replace(".pbf", ".mvt");
      const { status, body } = await ask(site.url, own, { headers });
      // The runtime itself resolves dot segments, before the Worker sees the request.
      const isOwn = status === 200 && body.includes(`${TABLE}/2/1/3`);
      if (!isOwn && ![400, 401, 403, 404].includes(status)) passed.push(`${attack}: ${status}`);
      if (isOwn && !/single dot|into the granted|slashes|fragment/.test(attack)) passed.push(attack);
    }
    expect(passed).toEqual([]);
  });

  test("refuses what Tilegate has revoked, and goes on with the last list when Tilegate is killed", async () => {
    await using service = await startEdgeService({});
    const { revokedUntilExp } = await service.call("TileTokenService/RevokeTileTokens", {
      datasetId: datasetOf(TABLE).id,
    });
    await using own = await startWorker({
      archives: { [`${TABLE}.pmtiles`]: vectorArchive(TABLE, 3) },
      signingKeys: [service.signingKey],
      tilegate: service.url,
    });
    const statuses = async () => {
      const all = [];
      for (const exp of [Number(revokedUntilExp), Number(revokedUntilExp) + 1]) {
        const { status, headers } = await ask(
          own.url,
          `/${TABLE}/2/1/3.mvt?${token(TABLE, exp, service.signingKey)}`,
        );
        all.push([status, headers["x-tilegate-reason"]]);
      }
      return all;
    };
    const wanted = [
      [403, "revoked"],
      [200, undefined],
    ];
    expect(await statuses()).toEqual(wanted);
    await service.kill();
    expect(await statuses()).toEqual(wanted);
  });

  test.for(["POST", "PUT", "OPTIONS"])("refuses %s", async (method) => {
    expect((await ask(site.url, `/${TABLE}/2/1/3.mvt?${token()}`, { method })).status).toBe(405);
  });
});
