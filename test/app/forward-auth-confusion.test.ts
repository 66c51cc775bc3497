import { afterAll, beforeAll, expect, test } from "vitest";
import type { TestApp } from "../harness/app.js";
import { ask, LIVE_EXP, queryOf, type RawHeaders, signatureOf, startWithTiles } from "./forward-auth.js";

// Requests that a proxy, a tile server or a cache may read otherwise than forward auth. With a token that is good for /roads: none may
// pass. `npm run attack -- --only confusion` makes up a hundred thousand others.

let app: TestApp;
beforeAll(async () => {
  app = await startWithTiles({ TILE_PATHS: "geolens,martin,pg_tileserv,tileserver-gl,pmtiles" });
});
afterAll(() => app[Symbol.asyncDispose]());

const TOKEN = queryOf("roads");
const GOOD = `/roads/1/1/1?${TOKEN}`;

const PATHS = [
  // Dot segments, plain and encoded, at every place.
  ...[
    "/./roads/1/1/1",
    "/../roads/1/1/1",
    "/roads/./1/1/1",
    "/roads/../roads/1/1/1",
    "/roads/1/1/1/.",
    "/roads/1/1/1/..",
  ],
  ...[
    "/%2e/roads/1/1/1",
    "/%2e%2e/roads/1/1/1",
    "/.%2e/roads/1/1/1",
    "/roads/1/1/%2e%2e/1/1",
    "/..%2froads/1/1/1",
  ],
  ...["/roads/..;/secrets/1/1/1", "/roads/1/1/1/..;/..;/x", "/.../roads/1/1/1", "/roads/1/1/.1"],
  // Slashes.
  ...[
    "//roads/1/1/1",
    "/roads//1/1/1",
    "/roads/1/1//1",
    "/roads/1/1/1/",
    "/roads/1/1/1//",
    "///roads/1/1/1",
    "/roads%2f1/1/1",
  ],
  ...[
    "/%2froads/1/1/1",
    "/roads/1/1%2F1",
    "/roads\\1\\1\\1",
    "\\roads/1/1/1",
    "/roads/1/1/1\\",
    "/roads%5c1/1/1",
    "/\\roads/1/1/1",
  ],
  // What some program decodes, folds or cuts off.
  ...[
    "/%72oads/1/1/1",
    "/r%6Fads/1/1/1",
    "/ROADS/1/1/1",
    "/Roads/1/1/1",
    "/roads%20/1/1/1",
    "/roads%00/1/1/1",
    "/roads/1/1/1%00",
  ],
  ...[
    "/roads%00.png/1/1/1",
    "/roads/1/1/1%0a",
    "/roads/1/1/1%23",
    "/roads/1/1/1%3f",
    "/%2572oads/1/1/1",
    "/roads/1/1/1%",
    "/roads/%u0031/1/1",
  ],
  ...["/road\u0161/1/1/1", "/ro\u00adads/1/1/1", "/roads\u200b/1/1/1", "/r\u0000ads/1/1/1"],
  // Matrix parameters, fragments, other separators.
  ...[
    "/roads;a=b/1/1/1",
    "/roads/1/1/1;x",
    "/roads/1;/1/1",
    "/roads/1/1/1#",
    "/roads#/1/1/1",
    "/roads/1/1/1|",
    "/roads:1/1/1",
    "/roads@1/1/1/1",
  ],
  // Absolute and other forms of targets.
  ...[
    "http://a/roads/1/1/1",
    "//a/roads/1/1/1",
    "roads/1/1/1",
    "*",
    "a:443",
    "",
    "?",
    "/",
    "/?",
    "/roads/1/1/1 HTTP/1.1",
  ],
  // Other numbers than the tile server may take them for.
  ...[
    "/roads/01/1/1",
    "/roads/+1/1/1",
    "/roads/-1/1/1",
    "/roads/1.0/1/1",
    "/roads/1e0/1/1",
    "/roads/0x1/1/1",
    "/roads/1/1/99999999999",
    "/roads/\u0661/1/1",
  ],
  // Others' tiles.
  ...[
    "/secrets/1/1/1",
    "/roads,secrets/1/1/1",
    "/secrets,roads/1/1/1",
    "/roads,roads/1/1/1",
    "/roads,/1/1/1",
    "/,roads/1/1/1",
    "/roads%2csecrets/1/1/1",
  ],
  ...[
    "/public.secrets/1/1/1.pbf",
    "/private.roads/1/1/1.pbf",
    "/roads.secrets/1/1/1.pbf",
    "/data/secrets/1/1/1.pbf",
    "/tiles/data.secrets/1/1/1.pbf",
  ],
  ...[
    "/tiles/roads.secrets/1/1/1.pbf",
    "/tiles/Data.roads/1/1/1.pbf",
    "/admin/roads/1/1/1",
    "/roads/1/1/1/x",
    "/roads/1/1",
    "/roads.json.json",
  ],
];

const sig = signatureOf("roads", LIVE_EXP);
const QUERIES = [
  ...[
    `${TOKEN}&sig=${sig}`,
    `sig=x&${TOKEN}`,
    `${TOKEN}&sig`,
    `${TOKEN}&sig=`,
    `${TOKEN}&SIG=1`,
    `${TOKEN}&%53ig=1`,
    `${TOKEN}&sig%5b%5d=1`,
  ],
  ...[
    `${TOKEN}&exp=9999999999`,
    `${TOKEN}&Exp=1`,
    `${TOKEN}&scope=secrets`,
    `${TOKEN}&Scope=secrets`,
    `${TOKEN}&s%63ope=secrets`,
    `${TOKEN};scope=secrets`,
  ],
  ...[
    `${TOKEN}&+scope=secrets`,
    `${TOKEN}&scope[]=secrets`,
    `${TOKEN}& scope=secrets`,
    `${TOKEN}&%20scope=x`,
    `${TOKEN}&key=a&key=b`,
    `${TOKEN}&KEY=a`,
  ],
  ...[
    TOKEN.replace("sig=", "sig=%30"),
    TOKEN.replace(sig, sig.toUpperCase()),
    TOKEN.replace(sig, sig.slice(1)),
    TOKEN.replace(sig, `${sig}0`),
  ],
  ...[
    TOKEN.replace(`${LIVE_EXP}`, `0${LIVE_EXP}`),
    TOKEN.replace(`${LIVE_EXP}`, `+${LIVE_EXP}`),
    TOKEN.replace(`${LIVE_EXP}`, `${LIVE_EXP}.0`),
  ],
  ...[
    TOKEN.replace(`${LIVE_EXP}`, `${LIVE_EXP}e0`),
    TOKEN.replace(`${LIVE_EXP}`, "-1"),
    TOKEN.replace(`${LIVE_EXP}`, "1e99"),
    TOKEN.replace("roads", "r%6fads"),
  ],
  ...[
    TOKEN.replace("roads", "Roads"),
    TOKEN.replace("roads", "roads%00"),
    TOKEN.replace("roads", ":roads"),
    TOKEN.replace("scope=roads", "scope=roads%2csecrets"),
  ],
  ...[
    `${TOKEN}#`,
    `${TOKEN}#&sig=1`,
    `${TOKEN}&a=\u00e9`,
    TOKEN.replaceAll("&", "&amp;"),
    TOKEN.replaceAll("&", ";"),
    TOKEN.replace("sig=", "sig=="),
  ],
];

const HEADERS: RawHeaders[] = [
  ["x-original-uri", GOOD, "x-original-uri", "/secrets/1/1/1"],
  ["x-forwarded-uri", GOOD, "x-forwarded-uri", GOOD],
  ["x-original-uri", GOOD, "x-forwarded-uri", "/secrets/1/1/1"],
  ["x-forwarded-uri", GOOD, "x-original-uri", "/secrets/1/1/1"],
  ["x-original-uri", `${GOOD}, /secrets/1/1/1`],
  ["x-original-uri", GOOD, "X_Original_URI", GOOD],
  ["x-original-uri", GOOD, "x-original_uri", "/secrets/1/1/1"],
  ["x-original-uri", GOOD, "x_forwarded_uri", "/secrets/1/1/1"],
  ["x-original-uri", GOOD, "x_forwarded-method", "GET"],
  ["x_original_uri", GOOD],
  ["x-original-url", GOOD],
  ["x-rewrite-url", GOOD],
  ["x-forwarded-url", GOOD],
  ["x-forwarded-path", GOOD],
  ["forwarded", `for=1.2.3.4;path=${GOOD}`],
  ["x-original-uri", GOOD, "x-forwarded-method", "POST"],
  ["x-original-uri", GOOD, "x-original-method", "DELETE"],
  ["x-original-uri", GOOD, "x-forwarded-method", "GET", "x-original-method", "PUT"],
  ["x-original-uri", GOOD, "x-forwarded-method", "GET, POST"],
  ["x-original-uri", GOOD, "x-forwarded-method", ""],
  ["x-original-uri", GOOD, "x_tilegate_scope", "secrets"],
  ["x-original-uri", GOOD, "x-tilegate_scope", "secrets"],
  ["connection", "x-original-uri", "x-forwarded-uri", ""],
];

test("they are hundreds", () => {
  expect(PATHS.length + QUERIES.length + HEADERS.length).toBeGreaterThan(150);
});

test("but for what makes them so, they would pass", async () => {
  expect(await ask(app, ["x-original-uri", GOOD])).toMatchObject({ status: 200 });
});

const outcomeOf = (headers: RawHeaders) =>
  ask(app, headers).then(
    ({ status }) => status,
    // No client sends what is no header.
    () => 0,
  );

const inLatin1 = (text: string) => Buffer.from(text).toString("latin1");

test.each([
  [
    "paths",
    PATHS.map((path) => ["x-original-uri", inLatin1(`${path}${path.includes("?") ? "" : `?${TOKEN}`}`)]),
  ],
  ["queries", QUERIES.map((query) => ["x-forwarded-uri", inLatin1(`/roads/1/1/1?${query}`)])],
  ["headers", HEADERS],
])("none of the %s passes, and none is an error of ours", async (_kind, all) => {
  const passed = [];
  for (const headers of all) {
    const status = await outcomeOf(headers);
    if (status !== 0 && ![400, 401, 403].includes(status)) passed.push([status, headers]);
  }
  expect(passed).toEqual([]);
});
