import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findMartin, missingPrograms } from "../../harness/edge/programs.mjs";
import { type Program, startNginxForwardAuth } from "../../harness/edge/proxies.mjs";
import { startMartin } from "../../harness/edge/tile-server.mjs";
import { type Recorder, startRecorder } from "./recorder.js";
import { ask } from "./request.js";
import { now, OTHER_TABLE, signed, TABLE } from "./tile-requests.js";
import { datasetOf, type EdgeService, startEdgeService } from "./tilegate.js";

const PRIVATE_TABLE = "ne_military_areas";
const SCRIPT = "martin/tiles.sed";
const ENV = {
  TILE_PATHS: "martin",
  FORWARD_AUTH_URI_HEADER: "X-Original-URI",
  FORWARD_AUTH_RATE_LIMIT_STATUS: "403",
};
const PAGE = { origin: "http://localhost:5173" };

describe.skipIf(missingPrograms(["nginx"]).length > 0)("nginx for Martin", () => {
  let service: EdgeService;
  let recorder: Recorder;
  let site: Program;
  beforeAll(async () => {
    service = await startEdgeService(ENV);
    recorder = await startRecorder();
    site = await startNginxForwardAuth({ tiles: recorder.url, tilegate: service.url }, SCRIPT);
  });
  afterAll(async () => {
    for (const started of [site, recorder, service]) await started?.[Symbol.asyncDispose]();
  });

  const token = (scope = TABLE) => signed(scope, now() + 600, service.signingKey);

  /** What reached the tile server, or the status of what didn't. */
  async function reached(target: string): Promise<string | number> {
    recorder.seen.length = 0;
    const { status } = await ask(site.url, target, { headers: PAGE });
    return recorder.seen[0]?.target ?? status;
  }

  test("passes on a source's tiles and TileJSON to who has its token, and nothing else", async () => {
    expect(await reached(`/${TABLE}/2/1/3?${token()}&v=1`)).toBe(`/${TABLE}/2/1/3?v=1`);
    expect(await reached(`/${TABLE}?${token()}`)).toMatch(new RegExp(`^/${TABLE}\\b`));
    expect(await reached(`/${TABLE}/2/1/3`)).toBe(401);
    expect(await reached(`/${OTHER_TABLE}/2/1/3?${token()}`)).toBe(403);
    for (const path of [
      "/catalog",
      "/health",
      `/sprite/${TABLE}`,
      "/",
      `/${TABLE}/2/1/3.pbf`,
      `/${TABLE}/../catalog`,
    ])
      expect([path, await reached(`${path}?${token()}`)]).toEqual([path, expect.toBeOneOf([400, 403, 404])]);
  });

  test("passes on a composite source to a key that may see every part, never to a token", async () => {
    const key = await service.createKey([datasetOf(PRIVATE_TABLE).id]);
    const path = `/${TABLE},${PRIVATE_TABLE}/2/1/3`;
    expect(await reached(`${path}?key=${key}`)).toBe(path);
    for (const scope of [TABLE, PRIVATE_TABLE]) expect(await reached(`${path}?${token(scope)}`)).toBe(403);
    expect(await reached(`${path}?key=${await service.createKey([])}`)).toBe(403);
  });

  test("leaves a TileJSON's key where it is, and takes a tile's away", async () => {
    const key = await service.createKey([]);
    expect(await reached(`/${TABLE}?key=${key}`)).toBe(`/${TABLE}?key=${key}`);
    expect(await reached(`/${TABLE}/2/1/3?key=${key}`)).toBe(`/${TABLE}/2/1/3`);
  });
});

const isMissing = findMartin() === undefined || missingPrograms(["nginx"]).length > 0;

describe.skipIf(isMissing)("Martin itself behind nginx", () => {
  let service: EdgeService;
  let tiles: Program;
  let site: Program;
  beforeAll(async () => {
    service = await startEdgeService(ENV);
    tiles = await startMartin({ layers: [TABLE, OTHER_TABLE, PRIVATE_TABLE] });
    site = await startNginxForwardAuth({ tiles: tiles.url, tilegate: service.url }, SCRIPT);
  });
  afterAll(async () => {
    for (const started of [site, tiles, service]) await started?.[Symbol.asyncDispose]();
  });

  const token = (scope = TABLE) => signed(scope, now() + 600, service.signingKey);

  test("who has a good token gets the source's tiles and TileJSON, and no other's", async () => {
    const { status, body } = await ask(site.url, `/${TABLE}/2/1/3?${token()}`);
    expect(status).toBe(200);
    expect(body.toString()).toContain(`${TABLE}/2/1/3`);
    const tileJson = await ask(site.url, `/${TABLE}?${token()}`);
    expect(JSON.parse(tileJson.body.toString())).toMatchObject({ tilejson: "3.0.0" });

    expect((await ask(site.url, `/${TABLE}/2/1/3`)).status).toBe(401);
    expect((await ask(site.url, `/${OTHER_TABLE}/2/1/3?${token()}`)).status).toBe(403);
    for (const path of ["/catalog", "/health", "/", `/${TABLE}/2/1/3.pbf`, `/tiles/${TABLE}/2/1/3`])
      expect([path, (await ask(site.url, `${path}?${token()}`)).status]).toEqual([
        path,
        expect.toBeOneOf([403, 404]),
      ]);
  });

  test("a composite source is opened by a key that may see every part, never by a token", async () => {
    const key = await service.createKey([datasetOf(PRIVATE_TABLE).id]);
    const path = `/${TABLE},${PRIVATE_TABLE}/2/1/3`;
    const { status, body } = await ask(site.url, `${path}?key=${key}`, { headers: PAGE });
    expect(status).toBe(200);
    expect(body.toString()).toContain(`${TABLE}/2/1/3`);
    expect(body.toString()).toContain(`${PRIVATE_TABLE}/2/1/3`);
    for (const scope of [TABLE, PRIVATE_TABLE])
      expect((await ask(site.url, `${path}?${token(scope)}`)).status).toBe(403);
    const stranger = await service.createKey([]);
    expect((await ask(site.url, `${path}?key=${stranger}`, { headers: PAGE })).status).toBe(403);
  });

  test("a TileJSON that is asked for with a key has it in its tiles' URLs", async () => {
    const key = await service.createKey([]);
    const { body } = await ask(site.url, `/${TABLE}?key=${key}`, { headers: PAGE });
    const [template] = JSON.parse(body.toString()).tiles;
    expect(template).toBe(`${site.url}/${TABLE}/{z}/{x}/{y}?key=${key}`);
  });
});
