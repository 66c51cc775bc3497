import { describe, expect, test } from "vitest";
import { type EdgeProgram, missingPrograms } from "../../harness/edge/programs.mjs";
import { type Program, startHaproxy, startNginxNjs } from "../../harness/edge/proxies.mjs";
import { startTileServer } from "../../harness/edge/tile-server.mjs";
import { startRecorder } from "./recorder.js";
import { ask } from "./request.js";
import { useSite } from "./site.js";
import { hostileRequests, now, OTHER_TABLE, signed, TABLE, tilePath } from "./tile-requests.js";
import { datasetOf, startEdgeService } from "./tilegate.js";

const SIGNING_KEY = "a-signing-secret-of-the-edge's-tests";
const PREVIOUS_KEY = "the-signing-secret-that-was-before-it";
const signingKeys = [SIGNING_KEY, PREVIOUS_KEY];

interface Site {
  readonly name: string;
  readonly needs: readonly EdgeProgram[];
  start(options: { tiles: string; signingKeys: readonly string[] }): Promise<Program>;
}

const SITES: readonly Site[] = [
  { name: "nginx by njs", needs: ["nginx", "njs"], start: startNginxNjs },
  { name: "HAProxy", needs: ["haproxy"], start: startHaproxy },
];

describe.for(SITES)("without the service, $name", ({ needs, start }) => {
  describe.skipIf(missingPrograms([...needs, "tileserver-gl"]).length > 0)("before tileserver-gl", () => {
    const real = useSite(
      () => startTileServer({ layers: [TABLE, OTHER_TABLE] }),
      (tiles) => start({ tiles, signingKeys }),
    );

    test("gives who has a good token the tile's bytes, and the TileJSON", async () => {
      for (const table of [TABLE, OTHER_TABLE]) {
        const token = signed(table, now() + 600, SIGNING_KEY);
        const { status, body } = await ask(real.site.url, `${tilePath(table)}?${token}`);
        expect(status).toBe(200);
        expect(body.toString()).toContain(`${table}/2/1/3`);
        expect(body).toEqual((await ask(real.tiles.url, tilePath(table))).body);
        const tileJson = await ask(real.site.url, `/data/${table}.json?${token}`);
        expect(JSON.parse(tileJson.body.toString())).toMatchObject({ tilejson: "3.0.0", name: table });
      }
    });

    test("takes a token in any order among other parameters, in its last second, and of the key before the rotation", async () => {
      const path = tilePath(TABLE);
      const [sig, exp, scope] = signed(TABLE, now() + 600, SIGNING_KEY).split("&");
      const targets = [
        `${path}?v=7&${scope}&cols=a,b&${exp}&${sig}&_v=%20`,
        `${path}?&&${sig}&${exp}&${scope}&`,
        `${path}?${signed(TABLE, now() + 600, PREVIOUS_KEY)}`,
      ];
      for (const target of targets)
        expect([target, (await ask(real.site.url, target)).status]).toEqual([target, 200]);
      // Asked again where the second went by on the way.
      for (;;) {
        const exp = now() + 1;
        const { status } = await ask(real.site.url, `${path}?${signed(TABLE, exp, SIGNING_KEY)}`);
        if (now() + 1 !== exp) continue;
        expect(status).toBe(200);
        break;
      }
    });

    test("tells a page why it is refused, and how to ask", async () => {
      const path = tilePath(TABLE);
      const cases: readonly [string, number, string][] = [
        [path, 401, "missing"],
        [`${path}?v=1`, 401, "missing"],
        [`${path}?${signed(TABLE, now() - 1, SIGNING_KEY)}`, 403, "expired"],
        [`${path}?${signed(TABLE, now() + 600, "another-installation's-secret")}`, 403, "signature"],
        [`${path}?${signed(OTHER_TABLE, now() + 600, SIGNING_KEY)}`, 403, "scope"],
        [`${path}?sig=&exp=&scope=`, 403, "malformed"],
        [`/data/./x?${signed(TABLE, now() + 600, SIGNING_KEY)}`, 403, "path"],
      ];
      for (const [target, wanted, reason] of cases) {
        const { status, headers } = await ask(real.site.url, target);
        expect([target, status, headers["x-tilegate-reason"]]).toEqual([target, wanted, reason]);
        expect(headers["access-control-allow-origin"]).toBe("*");
        expect(headers["access-control-expose-headers"]).toBe("X-Tilegate-Reason");
        if (status === 401) expect(headers["www-authenticate"]).toBe("Bearer");
      }
    });
  });

  describe.skipIf(missingPrograms(needs).length > 0)("before a tile server that has everything", () => {
    const recorded = useSite(startRecorder, (tiles) => start({ tiles, signingKeys }));

    test("asks for what it has checked, byte for byte, and answers pages once", async () => {
      const target = `${tilePath(TABLE)}?cols=a%2Cb&${signed(TABLE, now() + 600, SIGNING_KEY)}`;
      const { status, headers } = await ask(recorded.site.url, target);
      expect([status, headers["access-control-allow-origin"]]).toEqual([200, "*"]);
      expect(recorded.tiles.seen.map((request) => request.target)).toEqual([target]);
      expect((await ask(recorded.site.url, target, { method: "HEAD" })).status).toBe(200);
    });

    test.for(hostileRequests(SIGNING_KEY))("refuses $attack", async ({ target, headers = {} }) => {
      const before = recorded.tiles.seen.length;
      expect((await ask(recorded.site.url, target, { headers })).status).toBeOneOf([400, 401, 403, 404]);
      expect(recorded.tiles.seen.length).toBe(before);
    });

    test.for(["POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "TRACE"])("refuses %s", async (method) => {
      const before = recorded.tiles.seen.length;
      const target = `${tilePath(TABLE)}?${signed(TABLE, now() + 600, SIGNING_KEY)}`;
      expect((await ask(recorded.site.url, target, { method })).status).toBeOneOf([400, 403, 405]);
      expect(recorded.tiles.seen.length).toBe(before);
    });

    test("opens tiles with what the service gave out before it was killed", async () => {
      await using service = await startEdgeService({});
      const { id } = datasetOf(TABLE);
      const minted = await fetch(`${service.url}/api/tiles/token/${id}/`);
      const { sig, exp, scope } = (await minted.json()) as { sig: string; exp: number; scope: string };
      await service.kill();
      await using own = await start({ tiles: recorded.tiles.url, signingKeys: [service.signingKey] });
      const query = `sig=${sig}&exp=${exp}&scope=${scope}`;
      expect((await ask(own.url, `${tilePath(TABLE)}?${query}`)).status).toBe(200);
      expect((await ask(own.url, `${tilePath(OTHER_TABLE)}?${query}`)).status).toBe(403);
    });

    test("opens nothing without a key, with which anybody could sign", async () => {
      const before = recorded.tiles.seen.length;
      for (const keys of [[""], [SIGNING_KEY, ""]]) {
        // HAProxy doesn't even start.
        const started = await start({ tiles: recorded.tiles.url, signingKeys: keys }).catch(() => undefined);
        await using opened = started;
        for (const key of opened === undefined ? [] : keys) {
          const target = `${tilePath(TABLE)}?${signed(TABLE, now() + 600, key)}`;
          expect((await ask(opened?.url ?? "", target)).status).toBe(500);
        }
      }
      expect(recorded.tiles.seen.length).toBe(before);
    });
  });
});
