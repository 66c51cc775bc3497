import { connect } from "node:http2";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { DatasetInput } from "../../src/domain/datasets/dataset-rules.js";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import {
  aVectorDataset,
  type Headers,
  NOW,
  SIGNING_KEY,
  startTestApp,
  type TestApp,
} from "../harness/app.js";
import { createAccount, type TestAccount } from "./accounts.js";
import { http1, type SentHeaders } from "./key-doors.js";
import { opensslHmac } from "./token-doors.js";

const WINDOW_SECONDS = 900;
/** NOW is 100 s into a window. */
const EXPIRES_IN = 800;
const EXP = NOW.getTime() / 1000 + EXPIRES_IN;
const BASE = "https://maps.example.com/tiles-here";
const UNKNOWN = "00000000-0000-4000-8000-000000000000";

/** An installation and what is in it. */
interface Site {
  readonly app: TestApp;
  readonly account: TestAccount;
  readonly ids: Record<"open" | "closed" | "raster" | "elsewhere" | "wrapped", string>;
}

/** Without TILE_BASE_URL; with it. */
let site: Site;
let based: Site;

async function startSite(env: Record<string, string>): Promise<Site> {
  const app = await startTestApp(env);
  const account = await createAccount(app);
  const create = async (change: Partial<DatasetInput>) =>
    (await app.useCases.datasets.create(OPERATOR, { ...aVectorDataset, accountId: account.id, ...change }))
      .id;
  const ids = {
    open: await create({ tableName: "roads", title: "Roads" }),
    closed: await create({ tableName: "parcels", visibility: "private", owner: "ada" }),
    raster: await create({ kind: "raster", title: "Relief" }),
    elsewhere: await create({
      kind: "raster",
      cacheVersion: 7,
      raster: {
        tileUrlTemplate: "https://kachle.example/dlaždice/{z}/{x}/{y}.webp?style=dark",
        bounds: [-10.5, 40, 4.25, 51],
        minzoom: 2,
        maxzoom: 9,
        tileSize: 512,
      },
    }),
    wrapped: await create({ kind: "raster", raster: { bounds: [170, -50, -170, -30] } }),
  };
  return { app, account, ids };
}

beforeAll(async () => {
  site = await startSite({});
  based = await startSite({ TILE_BASE_URL: `${BASE}/` });
});
beforeEach(() => {
  site.app.now = NOW;
  based.app.now = NOW;
});
afterAll(async () => {
  await site.app[Symbol.asyncDispose]();
  await based.app[Symbol.asyncDispose]();
});

const pathOf = (id: string, query = "") => `/tilejson/${id}.json${query}`;

async function read(
  { app }: Site,
  id: string,
  { headers = {}, query = "" }: { headers?: Headers; query?: string } = {},
) {
  const response = await app.fetch(pathOf(id, query), { headers });
  const body = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    caching: response.headers.get("cache-control"),
    json: (body === "" ? undefined : JSON.parse(body)) as { tiles: string[] } & Record<string, unknown>,
  };
}

async function keyOf({ app, account }: Site, datasetIds: string[] = []) {
  return (await app.useCases.apiKeys.create(OPERATOR, { datasetIds }, account.id)).token;
}

const query = (scope: string, exp = EXP) =>
  `sig=${opensslHmac(`${scope}:${exp}`, SIGNING_KEY)}&exp=${exp}&scope=${scope}`;

describe("what it says", () => {
  test("of a vector dataset: its layer and its signed tiles, and no zooms, which nobody knows", async () => {
    const { status, headers, json } = await read(based, based.ids.open);
    expect([status, headers.get("content-type")]).toEqual([200, "application/json"]);
    expect(json).toEqual({
      tilejson: "3.0.0",
      name: "Roads",
      scheme: "xyz",
      tiles: [`${BASE}/tiles/data.roads/{z}/{x}/{y}.pbf?${query("roads")}`],
      vector_layers: [{ id: "data.roads", fields: {} }],
    });
  });

  test("of a raster dataset", async () => {
    const { raster } = based.ids;
    expect((await read(based, raster)).json).toEqual({
      tilejson: "3.0.0",
      name: "Relief",
      scheme: "xyz",
      tiles: [`${BASE}/raster-tiles/${raster}/tiles/{z}/{x}/{y}.png?${query(raster)}&v=1`],
      minzoom: 0,
      maxzoom: 18,
      tileSize: 256,
    });
  });

  test("of a raster dataset whose tiles are elsewhere: where they are, and no name if it has none", async () => {
    const { elsewhere } = based.ids;
    expect((await read(based, elsewhere)).json).toEqual({
      tilejson: "3.0.0",
      scheme: "xyz",
      tiles: [`https://kachle.example/dlaždice/{z}/{x}/{y}.webp?style=dark&${query(elsewhere)}&v=7`],
      minzoom: 2,
      maxzoom: 9,
      bounds: [-10.5, 40, 4.25, 51],
      tileSize: 512,
    });
  });

  test("bounds that cross the antimeridian go all around, since TileJSON's must not wrap", async () => {
    expect((await read(site, site.ids.wrapped)).json.bounds).toEqual([-180, -50, 180, -30]);
  });

  test("forward auth opens its tiles, by its token or the key in it", async () => {
    const { app, ids } = site;
    const key = await keyOf(site, [ids.closed]);
    for (const query of [`?key=${key}`, `?key=${key}&tiles=key`]) {
      const { json } = await read(site, ids.closed, { query });
      const { pathname, search } = new URL((json.tiles[0] ?? "").replace("{z}/{x}/{y}", "3/2/1"));
      const ask = (target: string) => app.fetch("/auth/tiles", { headers: { "x-original-uri": target } });
      expect([query, (await ask(pathname + search)).status]).toEqual([query, 200]);
      expect(
        (await ask(`${pathname.replace("parcels", "roads")}${search}`.replace(key, "tgk_x"))).status,
      ).toBe(403);
    }
  });

  test("its token is the one that token routes give, and VerifyTileToken takes", async () => {
    const { open } = site.ids;
    const given = (await (await site.app.fetch(`/api/tiles/token/${open}/`)).json()) as { sig: string };
    expect((await read(site, open)).json.tiles[0]).toContain(`sig=${given.sig}&exp=${EXP}&scope=roads`);
  });

  test("scopes carry the account where there are several, and so does the path that TILE_PATHS names for that", async () => {
    const TILE_PATHS = "geolens,/t/{account}/{table}/{z}/{x}/{y}.pbf";
    await using app = await startTestApp({ TENANCY: "multi", TILE_BASE_URL: BASE, TILE_PATHS });
    const { id: accountId } = await createAccount(app);
    const input = { ...aVectorDataset, accountId, tableName: "roads" };
    const { id } = await app.useCases.datasets.create(OPERATOR, input);
    const response = await app.fetch(pathOf(id));
    const { tiles } = (await response.json()) as { tiles: string[] };
    expect(tiles[0]).toMatch(`${BASE}/t/${accountId}/roads/{z}/{x}/{y}.pbf?sig=`);
    expect(new URL(tiles[0] ?? "").searchParams.get("scope")).toBe(`${accountId}:roads`);
  });

  test("the id may be in upper case", async () => {
    const upper = await read(site, site.ids.open.toUpperCase());
    expect(upper.json).toEqual((await read(site, site.ids.open)).json);
  });
});

describe("who gets it", () => {
  test("a private dataset: who may see it, by whatever credential", async () => {
    const { closed } = site.ids;
    const key = await keyOf(site, [closed]);
    const owner = await site.app.user({ sub: "ada", account: site.account.id });
    const other = await site.app.user({ sub: "eve", account: site.account.id });
    const outcomes = [];
    for (const asked of [
      {},
      { headers: owner },
      { headers: other },
      { headers: site.account.backend },
      { headers: { "x-api-key": key } },
      { query: `?key=${key}` },
      { query: `?key=${await keyOf(site)}` },
      { query: "?key=tgk_x" },
    ]) {
      outcomes.push((await read(site, closed, asked)).status);
    }
    expect(outcomes).toEqual([401, 200, 403, 200, 200, 200, 403, 401]);
  });

  test.each(["x", UNKNOWN, "%2e%2e", `${UNKNOWN}0`])("nobody for the id %s: 404", async (id) => {
    const { status, json } = await read(site, id);
    expect([status, json.reason]).toEqual([404, "DATASET_NOT_FOUND"]);
  });

  test("a refusal is kept by nobody, and a page may read it", async () => {
    const { caching, headers } = await read(site, site.ids.closed, {
      headers: { origin: "https://a.example" },
    });
    expect(caching).toBe("private, no-store");
    expect(headers.get("www-authenticate")).toBe("Bearer");
    expect(headers.get("access-control-allow-origin")).toBe("*");
  });
});

describe("with ?tiles=key the templates carry the key in place of a token", () => {
  test("wherever the key was sent", async () => {
    const { closed, elsewhere } = based.ids;
    const key = await keyOf(based, [closed]);
    const expected = `${BASE}/tiles/data.parcels/{z}/{x}/{y}.pbf?key=${key}`;
    for (const asked of [
      { query: `?key=${key}&tiles=key` },
      { query: "?tiles=key", headers: { "x-api-key": key } },
      { query: `?tiles=key&key=${key}`, headers: { "x-api-key": key } },
    ]) {
      const { status, json, caching } = await read(based, closed, asked);
      expect([status, json.tiles, caching]).toEqual([200, [expected], "private, max-age=60"]);
    }
    const raster = await read(based, elsewhere, { query: `?key=${key}&tiles=key` });
    expect(raster.json.tiles).toEqual([
      `https://kachle.example/dlaždice/{z}/{x}/{y}.webp?style=dark&key=${key}&v=7`,
    ]);
  });

  test("but not for what only another credential opens", async () => {
    const { closed } = site.ids;
    const owner = await site.app.user({ sub: "ada", account: site.account.id });
    const asked = { query: `?key=${await keyOf(site)}`, headers: owner };
    expect((await read(site, closed, asked)).status).toBe(200);
    expect((await read(site, closed, { ...asked, query: `${asked.query}&tiles=key` })).status).toBe(403);
  });

  test.each(["?tiles=key", "?tiles=", "?tiles=signed", "?tiles=KEY", "?tiles=token&tiles=token"])(
    "%s of who sends no key, or of another meaning, is refused, naming the field",
    async (query) => {
      for (const headers of [{}, site.account.backend]) {
        const { status, json, caching } = await read(site, site.ids.open, { query, headers });
        expect([status, json.field, caching]).toEqual([422, "tiles", "private, no-store"]);
      }
    },
  );

  test("a key that is refused gets no template at all", async () => {
    const { token } = await site.app.useCases.apiKeys.create(
      OPERATOR,
      { origins: ["maps.example.com"] },
      site.account.id,
    );
    const asked = { query: `?key=${token}&tiles=key`, headers: { origin: "https://evil.example" } };
    expect((await read(site, site.ids.open, asked)).status).toBe(401);
  });
});

describe("where tiles are", () => {
  const tilesFor = async (headers: SentHeaders, { app, ids } = site) => {
    const answer = await http1(app, pathOf(ids.open), { headers });
    return answer.status === 200 ? new URL(JSON.parse(answer.body).tiles[0]).origin : answer.status;
  };

  test("is where the client reached the service, as a trusted proxy tells", async () => {
    expect(await tilesFor({ host: "maps.example.com:8080" })).toBe("http://maps.example.com:8080");
    const forwarded = { "x-forwarded-proto": "https", "x-forwarded-host": "maps.example.com" };
    expect(await tilesFor({ host: "inside", ...forwarded })).toBe("https://maps.example.com");
  });

  test.each<[string, SentHeaders]>([
    ["a path in Host", { host: "maps.example.com/evil" }],
    ["userinfo in Host", { host: "maps.example.com@evil.example" }],
    ["several values of X-Forwarded-Host", { "x-forwarded-host": ["maps.example.com", "evil.example"] }],
    ["another scheme", { "x-forwarded-proto": "javascript" }],
  ])("is not told by %s: 400", async (_, headers) => {
    expect(await tilesFor(headers)).toBe(400);
  });

  test("is not told by X-Forwarded-Host and -Proto of an untrusted peer", async () => {
    await using app = await startTestApp({ TRUSTED_PROXIES: "10.0.0.0/8" });
    const { id: accountId } = await createAccount(app);
    const input = { ...aVectorDataset, accountId, tableName: "roads" };
    const { id } = await app.useCases.datasets.create(OPERATOR, input);
    const forwarded = { "x-forwarded-proto": "https", "x-forwarded-host": "evil.example" };
    const { body } = await http1(app, pathOf(id), { headers: { host: "maps.example.com", ...forwarded } });
    expect(new URL(JSON.parse(body).tiles[0]).origin).toBe("http://maps.example.com");
  });

  test("is TILE_BASE_URL, whatever anybody sends", async () => {
    const forwarded = { "x-forwarded-proto": "javascript", "x-forwarded-host": "evil.example, x" };
    for (const headers of [{ host: "evil.example" }, { host: "evil.example@x" }, forwarded])
      expect(await tilesFor(headers, based)).toBe("https://maps.example.com");
  });
});

describe("how long it may be kept", () => {
  const VARY = "Authorization, X-Api-Key";
  const seconds = async (expiresIn: number) => {
    based.app.now = new Date((EXP - expiresIn) * 1000);
    const { caching, json } = await read(based, based.ids.open);
    return [Number(caching?.match(/^public, max-age=(\d+)$/)?.[1]), json.tiles[0]?.includes(`exp=${EXP}`)];
  };

  test.each([
    ["a minute", EXPIRES_IN, 60],
    ["a minute, while that is 80 % of what is left", 75, 60],
    ["80 % of what is left, below", 74, 59],
    ["80 % of the minimum validity", 60, 48],
  ])("%s", async (_, expiresIn, maxAge) => {
    expect(await seconds(expiresIn)).toEqual([maxAge, true]);
  });

  test("a minute of the next window's token, once too little is left of this one's", async () => {
    expect(await seconds(59)).toEqual([60, false]);
  });

  test("not at all, where a token may end within a second", async () => {
    await using app = await startTestApp({
      TILE_TOKEN_TTL_SECONDS: "1",
      TILE_TOKEN_MIN_VALIDITY_SECONDS: "1",
    });
    const { id: accountId } = await createAccount(app);
    const input = { ...aVectorDataset, accountId, tableName: "roads" };
    const { id } = await app.useCases.datasets.create(OPERATOR, input);
    expect((await app.fetch(pathOf(id))).headers.get("cache-control")).toBe("private, max-age=0");
  });

  test("by everybody only if everybody may have it and nobody's credential was sent", async () => {
    const { open, closed } = based.ids;
    const key = await keyOf(based, [closed]);
    const answers = [];
    for (const [id, asked] of [
      [open, {}],
      [open, { headers: { origin: "https://a.example" } }],
      [open, { headers: based.account.backend }],
      [open, { query: `?key=${key}` }],
      [closed, { query: `?key=${key}` }],
      [closed, { headers: { "x-api-key": key } }],
    ] as const) {
      const { caching, headers } = await read(based, id, asked);
      expect(headers.get("vary")).toBe(VARY);
      answers.push(caching?.split(",")[0]);
    }
    expect(answers).toEqual(["public", "public", "private", "private", "private", "private"]);
  });

  test("cache poisoning: by nobody else, where the request's own word says where the tiles are", async () => {
    for (let times = 0; times < 2; times += 1) {
      const { caching } = await read(site, site.ids.open);
      expect(caching).toBe("private, max-age=60");
    }
  });

  test("the trap of CORS: what is kept of who is no page can be read by pages", async () => {
    const { headers } = await read(based, based.ids.open);
    expect(headers.get("access-control-allow-origin")).toBe("*");
    await using app = await startTestApp({ CORS_ORIGINS: "https://a.example", TILE_BASE_URL: BASE });
    const { id: accountId } = await createAccount(app);
    const input = { ...aVectorDataset, accountId, tableName: "roads" };
    const { id } = await app.useCases.datasets.create(OPERATOR, input);
    for (const [origin, allowed] of [
      ["https://a.example", "https://a.example"],
      ["https://evil.example", null],
    ] as const) {
      const answer = await app.fetch(pathOf(id), { headers: { origin } });
      expect(answer.headers.get("vary")).toBe(`${VARY}, Origin`);
      expect(answer.headers.get("access-control-allow-origin")).toBe(allowed);
    }
  });
});

describe("asking again", () => {
  test("costs no body while nothing has changed, and tells anew for how long it may be kept", async () => {
    const { open } = based.ids;
    const first = await read(based, open);
    const etag = first.headers.get("etag") ?? "";
    expect(etag).toMatch(/^"[\w-]+"$/);
    based.app.now = new Date((EXP - 65) * 1000);
    for (const match of [etag, `W/${etag}`, `"x", ${etag}`, "*"]) {
      const again = await read(based, open, { headers: { "if-none-match": match } });
      expect([again.status, again.json, again.caching]).toEqual([304, undefined, "public, max-age=52"]);
      expect(again.headers.get("etag")).toBe(etag);
      expect(again.headers.get("vary")).toBe("Authorization, X-Api-Key");
      expect(again.headers.get("access-control-allow-origin")).toBe("*");
    }
    expect((await read(based, open, { headers: { "if-none-match": '"x"' } })).status).toBe(200);
  });

  test("brings the next window's token, and what was changed", async () => {
    const { open } = based.ids;
    const asked = async () => (await read(based, open)).headers.get("etag");
    const tags = [await asked()];
    based.app.now = new Date(NOW.getTime() + WINDOW_SECONDS * 1000);
    tags.push(await asked());
    await based.app.useCases.datasets.update(OPERATOR, open, { title: "Streets" });
    tags.push(await asked());
    expect(new Set(tags).size).toBe(3);
    await based.app.useCases.datasets.update(OPERATOR, open, { title: "Roads" });
  });

  test("is answered 401, not 304, once the caller may no more", async () => {
    const { closed } = site.ids;
    const { key, token } = await site.app.useCases.apiKeys.create(
      OPERATOR,
      { datasetIds: [closed] },
      site.account.id,
    );
    const headers = { "x-api-key": token };
    const etag = (await read(site, closed, { headers })).headers.get("etag") ?? "";
    const again = () => read(site, closed, { headers: { ...headers, "if-none-match": etag } });
    expect((await again()).status).toBe(304);
    await site.app.useCases.apiKeys.delete(OPERATOR, key.id);
    expect((await again()).status).toBe(401);
  });

  test("HEAD tells the same, without a body", async () => {
    const got = await based.app.fetch(pathOf(based.ids.open));
    const head = await based.app.fetch(pathOf(based.ids.open), { method: "HEAD" });
    expect(head.status).toBe(200);
    for (const name of ["etag", "content-length", "content-type", "vary"])
      expect(head.headers.get(name)).toBe(got.headers.get(name));
    expect(await head.text()).toBe("");
  });

  test("over HTTP/2 it is the same", async () => {
    const session = connect(based.app.url);
    const ask = async (headers: Headers) => {
      const stream = session.request({ ":path": pathOf(based.ids.open), ...headers });
      const received = new Promise<Record<string, unknown>>((resolve) => stream.once("response", resolve));
      const [answer, body] = await Promise.all([received, text(stream)]);
      return { answer, body };
    };
    const { answer, body } = await ask({});
    expect(JSON.parse(body)).toEqual((await read(based, based.ids.open)).json);
    expect(answer).toMatchObject({ ":status": 200, vary: "Authorization, X-Api-Key" });
    const again = await ask({ "if-none-match": String(answer.etag) });
    expect([again.answer[":status"], again.body]).toEqual([304, ""]);
    session.destroy();
  });
});

test("no key gets into the log", async () => {
  const key = await keyOf(site, [site.ids.closed]);
  await read(site, site.ids.closed, { query: `?key=${key}&tiles=key` });
  await read(site, UNKNOWN, { query: `?key=${key}&tiles=key` });
  expect(site.app.log.join("")).toContain("tilejson");
  expect(site.app.log.join("")).not.toContain(key.slice(4, -6));
});
