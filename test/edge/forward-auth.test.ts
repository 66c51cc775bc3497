import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type EdgeProgram, missingPrograms } from "../../harness/edge/programs.mjs";
import {
  type Behind,
  type Program,
  startCaddy,
  startEnvoy,
  startNginxForwardAuth,
  startTraefik,
} from "../../harness/edge/proxies.mjs";
import { startTileServer } from "../../harness/edge/tile-server.mjs";
import { type Recorder, startRecorder } from "./recorder.js";
import { ask } from "./request.js";
import { hostileRequests, now, OTHER_TABLE, signed, TABLE, tilePath } from "./tile-requests.js";
import { datasetOf, type EdgeService, startEdgeService } from "./tilegate.js";

const PRIVATE_TABLE = "ne_military_areas";
const PAGE = { origin: "http://localhost:5173" };

interface Proxy {
  readonly name: string;
  readonly needs: EdgeProgram;
  /** Of the service, as the example's first lines say. */
  readonly env: Readonly<Record<string, string>>;
  /** What it decides by is what it has normalised, and so is what it asks the tile server for. */
  readonly normalises: boolean;
  /** It can't take parameters out of a query. */
  readonly keepsQuery?: boolean;
  /** What it answers while Tilegate is down. */
  readonly whenDown: number;
  start(behind: Behind): Promise<Program>;
}

const byForwardedUri = { FORWARD_AUTH_URI_HEADER: "X-Forwarded-Uri" };

const PROXIES: readonly Proxy[] = [
  {
    name: "nginx",
    needs: "nginx",
    env: { FORWARD_AUTH_URI_HEADER: "X-Original-URI", FORWARD_AUTH_RATE_LIMIT_STATUS: "403" },
    normalises: false,
    whenDown: 503,
    start: (behind) => startNginxForwardAuth(behind),
  },
  ...(["caddy-2.6", "caddy-2.11"] as const).map((version) => ({
    name: version,
    needs: version,
    env: byForwardedUri,
    normalises: false,
    whenDown: 502,
    start: (behind: Behind) => startCaddy(behind, version),
  })),
  {
    name: "Traefik",
    needs: "traefik",
    env: byForwardedUri,
    normalises: true,
    keepsQuery: true,
    whenDown: 500,
    start: startTraefik,
  },
  { name: "Envoy", needs: "envoy", env: {}, normalises: true, whenDown: 503, start: startEnvoy },
];

describe.for(PROXIES)("behind $name", (proxy) => {
  const isMissing = missingPrograms([proxy.needs, "tileserver-gl"]).length > 0;
  describe.skipIf(isMissing)("with the real service and tileserver-gl", () => {
    let service: EdgeService;
    let tiles: Program;
    let recorder: Recorder;
    /** Before `tiles`. */
    let site: Program;
    /** Before `recorder`. */
    let recorded: Program;
    beforeAll(async () => {
      service = await startEdgeService(proxy.env);
      tiles = await startTileServer({ layers: [TABLE, OTHER_TABLE, PRIVATE_TABLE] });
      recorder = await startRecorder();
      site = await proxy.start({ tiles: tiles.url, tilegate: service.url });
      recorded = await proxy.start({ tiles: recorder.url, tilegate: service.url });
    });
    afterAll(async () => {
      for (const started of [recorded, site, recorder, tiles, service])
        await started?.[Symbol.asyncDispose]();
    });

    const token = (scope = TABLE, exp = now() + 600) => signed(scope, exp, service.signingKey);

    test("who has a good token gets the tile's bytes, and the TileJSON", async () => {
      const { status, body } = await ask(site.url, `${tilePath(TABLE)}?${token()}`);
      expect(status).toBe(200);
      expect(body.toString()).toContain(`${TABLE}/2/1/3`);
      expect(body).toEqual((await ask(tiles.url, tilePath(TABLE))).body);
      expect((await ask(site.url, `${tilePath(TABLE)}?${token()}`, { method: "HEAD" })).status).toBe(200);
      const tileJson = await ask(site.url, `/data/${TABLE}.json?${token()}`);
      expect(JSON.parse(tileJson.body.toString())).toMatchObject({ tilejson: "3.0.0", name: TABLE });
    });

    test("a key opens what it lists, on the pages that it is locked to", async () => {
      const key = await service.createKey([datasetOf(PRIVATE_TABLE).id]);
      const path = tilePath(PRIVATE_TABLE);
      expect((await ask(site.url, `${path}?key=${key}`, { headers: PAGE })).status).toBe(200);
      expect((await ask(site.url, path, { headers: { "x-api-key": key, ...PAGE } })).status).toBe(200);
      const elsewhere: Readonly<Record<string, string>>[] = [{}, { origin: "https://elsewhere.example" }];
      for (const headers of elsewhere) {
        const refused = await ask(site.url, `${path}?key=${key}`, { headers });
        expect([refused.status, refused.headers["x-tilegate-reason"]]).toEqual([403, "origin"]);
      }
      expect((await ask(site.url, tilePath("ne_disputed_areas"), { headers: PAGE })).status).toBe(401);
    });

    test.skipIf(proxy.name !== "nginx")(
      "a TileJSON that is asked for with a key has it in its tiles' URLs, and never a client's host",
      async () => {
        const key = await service.createKey([]);
        const headers = { ...PAGE, "x-forwarded-host": "attacker.example", "x-forwarded-proto": "ftp" };
        const { body } = await ask(site.url, `/data/${TABLE}.json?key=${key}`, { headers });
        const { tiles: templates } = JSON.parse(body.toString());
        expect(templates).toEqual([`${site.url}/data/${TABLE}/{z}/{x}/{y}.pbf?key=${key}`]);
        const target = templates[0].slice(site.url.length).replace("{z}/{x}/{y}", "2/1/3");
        expect((await ask(site.url, target, { headers: PAGE })).status).toBe(200);
      },
    );

    test("a page is told why it is refused", async () => {
      const path = tilePath(TABLE);
      const cases: readonly [string, number, string][] = [
        [path, 401, "missing"],
        [`${path}?${token(TABLE, now())}`, 403, "expired"],
        [`${path}?${signed(TABLE, now() + 600, "another-installation's-secret")}`, 403, "signature"],
        [`${path}?${token(OTHER_TABLE)}`, 403, "scope"],
        [`${path}?${token()}&sig=x`, 403, "malformed"],
      ];
      for (const [target, wanted, reason] of cases) {
        const { status, headers } = await ask(site.url, target, { headers: PAGE });
        expect([target, status, headers["x-tilegate-reason"]]).toEqual([target, wanted, reason]);
        expect(headers["access-control-allow-origin"]).toBeOneOf(["*", PAGE.origin]);
        expect(headers["access-control-expose-headers"]).toMatch(/^X-Tilegate-Reason, ?Retry-After$/);
        if (status === 401) expect(headers["www-authenticate"]).toBe("Bearer");
      }
    });

    test("a page may send its key by a header: its preflight is answered", async () => {
      const headers = {
        ...PAGE,
        "access-control-request-method": "GET",
        "access-control-request-headers": "x-api-key",
      };
      const answer = await ask(site.url, tilePath(TABLE), { method: "OPTIONS", headers });
      expect(answer.status).toBeOneOf([200, 204]);
      expect(answer.headers["access-control-allow-origin"]).toBeOneOf(["*", PAGE.origin]);
      expect(String(answer.headers["access-control-allow-headers"]).toLowerCase()).toContain("x-api-key");
    });

    test("a rate limit reaches the client as 429, with when to come back", async () => {
      const key = await service.createKey([], 1);
      const target = `${tilePath(TABLE)}?key=${key}`;
      expect((await ask(site.url, target, { headers: PAGE })).status).toBe(200);
      const { status, headers } = await ask(site.url, target, { headers: PAGE });
      expect([status, headers["x-tilegate-reason"]]).toEqual([429, "rate_limited"]);
      expect(Number(headers["retry-after"])).toBeGreaterThan(0);
      expect(headers["access-control-allow-origin"]).toBeOneOf(["*", PAGE.origin]);
    });

    test("a revoked token is refused, and the next one accepted", async () => {
      const { revokedUntilExp } = await service.call("TileTokenService/RevokeTileTokens", {
        datasetId: datasetOf(OTHER_TABLE).id,
      });
      const target = (exp: number) => `${tilePath(OTHER_TABLE)}?${token(OTHER_TABLE, exp)}`;
      const refused = await ask(site.url, target(Number(revokedUntilExp)));
      expect([refused.status, refused.headers["x-tilegate-reason"]]).toEqual([403, "revoked"]);
      expect((await ask(site.url, target(Number(revokedUntilExp) + 1))).status).toBe(200);
    });

    test("the tile server is told Tilegate's verdict, and neither a credential nor the client's own verdict", async () => {
      const headers = {
        "x-tilegate-scope": "everything",
        "x-tilegate-account": "everybody",
        "x-tilegate-key-id": "mine",
        "x-tilegate-principal": "operator",
        "x-tilegate-cache": "public",
        "x-api-key": "tgk_somebodys",
        authorization: "Bearer somebodys",
        ...PAGE,
      };
      recorder.seen.length = 0;
      const { status } = await ask(recorded.url, `${tilePath(PRIVATE_TABLE)}?${token(PRIVATE_TABLE)}`, {
        headers,
      });
      expect(status).toBe(200);
      const [seen] = recorder.seen;
      const [path, query = ""] = seen?.target.split("?") ?? [];
      expect(path).toBe(tilePath(PRIVATE_TABLE));
      if (!proxy.keepsQuery) expect(query).not.toMatch(/sig|exp|scope/);
      expect(seen?.headers).toMatchObject({
        "x-tilegate-scope": PRIVATE_TABLE,
        "x-tilegate-principal": "token",
        "x-tilegate-cache": "private",
      });
      expect(seen?.headers["x-tilegate-key-id"] ?? "").toBe("");
      expect(seen?.headers["x-tilegate-account"]).not.toBe("everybody");
      expect(seen?.headers["x-api-key"] ?? "").toBe("");
      if (proxy.name !== "Envoy") expect(seen?.headers.authorization ?? "").toBe("");
    });

    test("no hostile request gets any other tile than its token opens", async () => {
      const passed: string[] = [];
      for (const { attack, target, headers = {} } of hostileRequests(service.signingKey)) {
        recorder.seen.length = 0;
        const { status } = await ask(recorded.url, target, { headers });
        const [seen] = recorder.seen;
        const isRefused = seen === undefined && [400, 401, 403, 404].includes(status);
        const path = seen?.target.split("?")[0] ?? "";
        const isSame =
          proxy.normalises && path.startsWith(`/data/${TABLE}/`) && !/[%\\]|\.\.|\/\//.test(path);
        if (!isRefused && !isSame) passed.push(`${attack}: ${status} ${seen?.target}`);
      }
      expect(passed).toEqual([]);
    });

    test.for(["POST", "PUT", "DELETE", "PROPFIND"])("%s is refused", async (method) => {
      recorder.seen.length = 0;
      const { status } = await ask(recorded.url, `${tilePath(TABLE)}?${token()}`, { method });
      expect(status).toBeOneOf([403, 404, 405]);
      expect(recorder.seen).toEqual([]);
    });

    test("nothing passes while Tilegate is down", async () => {
      await service.kill();
      recorder.seen.length = 0;
      const { status, headers } = await ask(
        recorded.url,
        `${tilePath(TABLE, 3)}?${token(TABLE, now() + 601)}`,
        {
          headers: PAGE,
        },
      );
      expect(status).toBe(proxy.whenDown);
      expect(headers["access-control-allow-origin"]).toBeOneOf(["*", PAGE.origin]);
      expect(recorder.seen).toEqual([]);
    });
  });
});
