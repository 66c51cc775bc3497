import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { missingPrograms } from "../../harness/edge/programs.mjs";
import { type Program, startNginxForwardAuth } from "../../harness/edge/proxies.mjs";
import { startTiTiler } from "../../harness/edge/tile-server.mjs";
import { DEMO_DATASETS } from "../../src/demo/catalog.js";
import { type Recorder, startRecorder } from "./recorder.js";
import { ask } from "./request.js";
import { now, signed, TABLE } from "./tile-requests.js";
import { type EdgeService, startEdgeService } from "./tilegate.js";

const [RASTER = "", OTHER_RASTER = ""] = DEMO_DATASETS.filter(({ kind }) => kind === "raster").map(
  ({ id }) => id,
);
const PNG = Buffer.from("89504e470d0a1a0a", "hex");

describe.skipIf(missingPrograms(["nginx", "titiler"]).length > 0)("TiTiler behind nginx", () => {
  let service: EdgeService;
  let tiles: Awaited<ReturnType<typeof startTiTiler>>;
  let recorder: Recorder;
  let site: Program;
  let recorded: Program;
  beforeAll(async () => {
    service = await startEdgeService({
      TILE_PATHS: "geolens",
      FORWARD_AUTH_URI_HEADER: "X-Original-URI",
      FORWARD_AUTH_RATE_LIMIT_STATUS: "403",
    });
    tiles = await startTiTiler({ datasets: [RASTER, OTHER_RASTER] });
    recorder = await startRecorder();
    const start = (url: string) =>
      startNginxForwardAuth({ tiles: url, tilegate: service.url }, "titiler/tiles.sed", {
        "/var/lib/tiles": tiles.images,
      });
    site = await start(tiles.url);
    recorded = await start(recorder.url);
  });
  afterAll(async () => {
    for (const started of [recorded, site, recorder, tiles, service]) await started?.[Symbol.asyncDispose]();
  });

  const path = (id: string, tile = "1/0/0.png") => `/raster-tiles/${id}/tiles/${tile}`;
  const token = (scope = RASTER) => signed(scope, now() + 600, service.signingKey);

  test("who has a raster token gets the image by the URL that came with it, and no other's", async () => {
    const minted = await fetch(`${service.url}/api/tiles/token/${RASTER}/`);
    const { tile_url: template } = (await minted.json()) as { tile_url: string };
    const { status, body, headers } = await ask(site.url, template.replace("{z}/{x}/{y}", "1/0/0"));
    expect([status, headers["content-type"]]).toEqual([200, "image/png"]);
    expect(body.subarray(0, PNG.length)).toEqual(PNG);

    expect((await ask(site.url, path(RASTER))).status).toBe(401);
    expect((await ask(site.url, `${path(OTHER_RASTER)}?${token()}`)).status).toBe(403);
    expect((await ask(site.url, `${path(RASTER)}?${token(TABLE)}`)).status).toBe(403);
    expect(
      (await ask(site.url, `/cog/tiles/WebMercatorQuad/1/0/0.png?url=/etc/passwd&${token()}`)).status,
    ).toBe(404);
  });

  test("a client names a dataset, never a file: neither by a second url nor by anything in its path", async () => {
    const file = `${tiles.images}/${RASTER}.tif`;
    const asked = `/cog/tiles/WebMercatorQuad/1/0/0.png?url=${file}`;
    for (const more of ["url=/etc/passwd", "URL=x", "v=1"]) {
      recorder.seen.length = 0;
      for (const target of [`${path(RASTER)}?${token()}&${more}`, `${path(RASTER)}?${more}&${token()}`])
        expect((await ask(recorded.url, target)).status).toBe(200);
      expect(recorder.seen.map(({ target }) => target)).toEqual([asked, asked]);
    }
    recorder.seen.length = 0;
    for (const tile of [
      "1/0/0.png%3furl=x",
      "1/0/0.png&url=x",
      "1/0/../0.png",
      "1/0/0.tif",
      "1/0/0.png/..",
      "a/0/0.png",
    ]) {
      const { status } = await ask(recorded.url, `${path(RASTER, tile)}?${token()}`);
      expect([tile, status]).toEqual([tile, expect.toBeOneOf([400, 403, 404])]);
    }
    expect(recorder.seen).toEqual([]);
  });
});
