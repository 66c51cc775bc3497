import { Agent, request } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { tileAddresses } from "../../harness/edge/pmtiles.mjs";
import { missingPrograms } from "../../harness/edge/programs.mjs";
import { type Program, startNginxForwardAuth } from "../../harness/edge/proxies.mjs";
import { startTileServer } from "../../harness/edge/tile-server.mjs";
import { DEMO_DATASETS } from "../../src/demo/catalog.js";
import { eventually } from "../harness/eventually.js";
import { ask } from "./request.js";
import { now, OTHER_TABLE, signed, TABLE, tilePath } from "./tile-requests.js";
import { type EdgeService, startEdgeService } from "./tilegate.js";

const LAYERS = 20;
const TILES = tileAddresses(3).slice(0, 50);
/** As browsers have them. */
const CONNECTIONS = 6;

describe.skipIf(missingPrograms(["nginx", "tileserver-gl"]).length > 0)("verdicts that nginx keeps", () => {
  let service: EdgeService;
  let tiles: Program;
  let site: Program;
  /** What opens each layer: its scope is also what the tile server calls it. */
  let tokens: { sig: string; exp: number; scope: string }[];

  beforeAll(async () => {
    service = await startEdgeService({
      FORWARD_AUTH_URI_HEADER: "X-Original-URI",
      FORWARD_AUTH_RATE_LIMIT_STATUS: "403",
    });
    const ids = DEMO_DATASETS.slice(0, LAYERS).map(({ id }) => id);
    const body = JSON.stringify({ dataset_ids: ids });
    const batch = await fetch(`${service.url}/api/tiles/tokens/`, { method: "POST", body });
    tokens = Object.values(
      ((await batch.json()) as { tokens: Record<string, (typeof tokens)[number]> }).tokens,
    );
    tiles = await startTileServer({ layers: tokens.map(({ scope }) => scope) });
    site = await startNginxForwardAuth({ tiles: tiles.url, tilegate: service.url });
  });
  afterAll(async () => {
    for (const started of [site, tiles, service]) await started?.[Symbol.asyncDispose]();
  });

  /** Calls of forward auth that `work` made. */
  async function authCalls(work: () => Promise<unknown>): Promise<number> {
    const before = await service.authCalls();
    await work();
    return (await service.authCalls()) - before;
  }

  test("load 20 layers of 50 tiles with one call of forward auth for each layer", async () => {
    expect(tokens).toHaveLength(LAYERS);
    const targets = TILES.flatMap(({ z, x, y }) =>
      tokens.map(({ sig, exp, scope }) => `${tilePath(scope, z, x, y)}?sig=${sig}&exp=${exp}&scope=${scope}`),
    );
    const calls = await authCalls(async () => {
      const statuses = await load(site.url, targets);
      expect(statuses).toEqual(new Map([[200, LAYERS * TILES.length]]));
    });
    expect(calls).toBe(LAYERS);
  });

  test("are the same for all who have the token, whatever their browser and page", async () => {
    const target = `${tilePath(TABLE)}?${signed(TABLE, now() + 500, service.signingKey)}`;
    const viewers: Readonly<Record<string, string>>[] = [
      { "user-agent": "one", origin: "https://a.example" },
      { "user-agent": "two", referer: "https://b.example/map" },
    ];
    const calls = await authCalls(async () => {
      for (const headers of viewers) expect((await ask(site.url, target, { headers })).status).toBe(200);
    });
    expect(calls).toBe(1);
  });

  test("open nothing else: neither another table, nor what another query asks for", async () => {
    const token = signed(TABLE, now() + 501, service.signingKey);
    expect((await ask(site.url, `${tilePath(TABLE)}?${token}`)).status).toBe(200);
    const others = [
      `${tilePath(OTHER_TABLE)}?${token}`,
      `/data/${OTHER_TABLE}.json?${token}`,
      `${tilePath(TABLE)}?${token}&sig=x`,
      `${tilePath(TABLE)}?${token}x`,
      `${tilePath(TABLE)}?`,
      tilePath(TABLE),
    ];
    for (const target of others) {
      const { status } = await ask(site.url, target);
      expect([target, status]).toEqual([target, target.includes("sig=") ? 403 : 401]);
    }
  });

  test("are not kept of keys and of refusals: these are asked for each time", async () => {
    const key = await service.createKey([]);
    const headers = { origin: "http://localhost:5173" };
    const token = signed(TABLE, now() + 502, "another-installation's-secret");
    const calls = await authCalls(async () => {
      for (const target of [`${tilePath(TABLE)}?key=${key}`, `${tilePath(TABLE)}?${token}`]) {
        for (let i = 0; i < 2; i++) await ask(site.url, target, { headers });
      }
      for (let i = 0; i < 2; i++)
        await ask(site.url, tilePath(TABLE), { headers: { ...headers, "x-api-key": key } });
    });
    expect(calls).toBe(6);
  });

  test("end with the token", async () => {
    const exp = now() + 2;
    const target = `${tilePath(TABLE)}?${signed(TABLE, exp, service.signingKey)}`;
    expect((await ask(site.url, target)).status).toBe(200);
    await eventually(async () => (await ask(site.url, target)).status === 403);
    // nginx counts whole seconds.
    expect(now() - exp).toBeLessThanOrEqual(2);
  });

  test("are all that is left while Tilegate is down, and open nothing new", async () => {
    const exp = now() + 503;
    const known = signed(TABLE, exp, service.signingKey);
    expect((await ask(site.url, `${tilePath(TABLE)}?${known}`)).status).toBe(200);
    await service.kill();
    expect((await ask(site.url, `${tilePath(TABLE, 1, 0, 0)}?${known}`)).status).toBe(200);
    const unknown = signed(TABLE, exp + 1, service.signingKey);
    expect((await ask(site.url, `${tilePath(TABLE)}?${unknown}`)).status).toBe(503);
  });
});

/**
 * Asks for all, over the connections of one browser.
 * @returns How often there was each status.
 */
async function load(url: string, targets: readonly string[]): Promise<Map<number, number>> {
  const { hostname, port } = new URL(url);
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const statuses = new Map<number, number>();
  const one = (path: string) =>
    new Promise<void>((resolve, reject) => {
      request({ host: hostname, port, path, agent }, (response) => {
        const { statusCode = 0 } = response;
        statuses.set(statusCode, (statuses.get(statusCode) ?? 0) + 1);
        response.resume().on("end", resolve).on("error", reject);
      })
        .on("error", reject)
        .end();
    });
  await Promise.all(targets.map(one));
  agent.destroy();
  return statuses;
}
