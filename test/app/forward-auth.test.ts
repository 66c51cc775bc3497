import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { aVectorDataset, NOW, operator, type TestApp } from "../harness/app.js";
import {
  ask,
  askFor,
  LIVE_EXP,
  queryOf,
  type RawHeaders,
  signatureOf,
  startWithTiles,
} from "./forward-auth.js";
import { ACCOUNT, DRAFT, PRIVATE, RASTER } from "./token-doors.js";

const PAGE = "https://maps.example.com";
const OWN_HEADERS = ["scope", "account", "key-id", "principal", "cache"];

let app: TestApp;
/** Locked to PAGE, opens one private dataset. */
let key: { id: string; token: string };
let other: string;

beforeAll(async () => {
  app = await startWithTiles({ TILE_PATHS: "geolens,martin,/t/{table}/{z}/{x}/{y}.pbf" });
  key = await newKey({ origins: ["maps.example.com"], userAgent: "Map", datasetIds: [PRIVATE] });
  other = (await app.useCases.accounts.create(OPERATOR, { name: "other" })).id;
});
afterAll(() => app[Symbol.asyncDispose]());
afterEach(() => {
  app.now = NOW;
});

const page: RawHeaders = ["origin", PAGE, "user-agent", "Map 1.0"];
const own = (answer: Awaited<ReturnType<typeof ask>>) =>
  Object.fromEntries(OWN_HEADERS.map((name) => [name, answer.headers[`x-tilegate-${name}`]]));

describe("a tile token", () => {
  test("opens its dataset's tiles, and the proxy is told all that there is to tell", async () => {
    const answer = await askFor(app, `/tiles/data.roads/5/16/10.pbf?${queryOf("roads")}`);
    expect(answer).toMatchObject({ status: 200, body: "", reason: undefined });
    expect(own(answer)).toEqual({
      scope: "roads",
      account: ACCOUNT,
      "key-id": "",
      principal: "token",
      cache: "public",
    });
    expect(answer.headers["cache-control"]).toBe("max-age=30");
  });

  test.each([
    ["/api/tiles/data.secrets/5/16/10.pbf", "secrets"],
    ["/tiles/clusters/data.secrets/5/16/10.pbf", "secrets"],
    ["/secrets/5/16/10", "secrets"],
    ["/secrets", "secrets"],
    ["/t/secrets/0/0/0.pbf", "secrets"],
    [`/raster-tiles/${RASTER}/tiles/5/16/10.png`, RASTER],
    [`/tiles/raster-proxy/${RASTER}/5/16/10.webp`, RASTER],
  ])("opens %s", async (path, scope) => {
    expect(await askFor(app, `${path}?${queryOf(scope)}`)).toMatchObject({ status: 200 });
    expect(await askFor(app, `${path}?v=3&${queryOf(scope)}&cols=a,b`)).toMatchObject({ status: 200 });
  });

  test("of what is not public is told to be private", async () => {
    const answer = await askFor(app, `/secrets/5/16/10?${queryOf("secrets")}`);
    expect(own(answer)).toMatchObject({ cache: "private", account: ACCOUNT });
  });

  test("of whoever shares the signing key is told to be nobody's here", async () => {
    const answer = await askFor(app, `/theirs/5/16/10?${queryOf("theirs")}`);
    expect(own(answer)).toEqual({
      scope: "theirs",
      account: "",
      "key-id": "",
      principal: "token",
      cache: "private",
    });
  });

  test("may be let pass for no longer than it lives", async () => {
    const target = `/roads/5/16/10?${queryOf("roads")}`;
    app.now = new Date((LIVE_EXP - 7) * 1000);
    expect((await askFor(app, target)).headers["cache-control"]).toBe("max-age=7");
    app.now = new Date(LIVE_EXP * 1000);
    expect(await askFor(app, target)).toMatchObject({ status: 403, reason: "expired" });
  });

  const tampered = signatureOf("roads", LIVE_EXP).replace(/^./, (digit) => (digit === "0" ? "1" : "0"));
  test.each([
    ["expired", `/roads/1/1/1?${queryOf("roads", NOW.getTime() / 1000)}`],
    ["signature", `/roads/1/1/1?${queryOf("roads", LIVE_EXP, tampered)}`],
    ["signature", `/roads/1/1/1?${queryOf("roads", LIVE_EXP + 1, signatureOf("roads", LIVE_EXP))}`],
    ["signature", `/roads/1/1/1?${queryOf("roads", LIVE_EXP, signatureOf("secrets", LIVE_EXP))}`],
    [
      "signature",
      `/roads/1/1/1?${queryOf("roads", LIVE_EXP, signatureOf("roads", LIVE_EXP, "another key, 16 bytes"))}`,
    ],
    ["scope", `/secrets/1/1/1?${queryOf("roads")}`],
    ["scope", `/raster-tiles/${PRIVATE}/tiles/1/1/1.png?${queryOf(RASTER)}`],
    ["scope", `/roads,secrets/1/1/1?${queryOf("roads")}`],
    ["path", `/admin?x=1&${queryOf("roads")}`.replace("/admin", "/roads/extra/1")],
    ["path", `/roads/1/1/1/?${queryOf("roads")}`],
    ["path", `/?${queryOf("roads")}`],
    ["malformed", `/roads/1/1/1?${queryOf("roads")}&sig=${tampered}`],
    ["malformed", `/roads/1/1/1?${queryOf("roads").replace("scope=", "Scope=")}`],
    ["malformed", `/roads/1/1/1?exp=${LIVE_EXP}&scope=roads`],
    ["malformed", `/roads/1/1/1?${queryOf("roads").replace("exp=", "exp=0")}`],
    ["malformed", `/roads/1/1/1?${queryOf("roads")}#x`],
  ])("is refused: %s, %s", async (reason, target) => {
    const answer = await askFor(app, target);
    expect(answer).toMatchObject({ status: 403, reason });
    expect(answer.headers["cache-control"]).toBe("no-store");
    expect(answer.body).not.toContain(tampered);
  });

  test("that is revoked is refused, and the next one accepted", async () => {
    const { id } = await createTable("short_lived");
    const target = `/short_lived/1/1/1?${queryOf("short_lived")}`;
    expect((await askFor(app, target)).status).toBe(200);
    const untilExp = await app.useCases.datasets.revokeTokens(OPERATOR, id);
    expect(await askFor(app, target)).toMatchObject({ status: 403, reason: "revoked" });
    const next = `/short_lived/1/1/1?${queryOf("short_lived", untilExp + 1)}`;
    expect((await askFor(app, next)).status).toBe(200);
  });

  test("alone decides where it is sent: another credential beside it is not looked at", async () => {
    const target = `/roads/1/1/1?${queryOf("roads")}`;
    const before = app.service.authentications();
    expect((await askFor(app, target, ["authorization", "Bearer nonsense"])).status).toBe(200);
    expect((await askFor(app, `${target}&key=tgk_nonsense`)).status).toBe(200);
    expect(app.service.authentications()).toBe(before);
    const expired = `/roads/1/1/1?${queryOf("roads", 1)}`;
    expect(await askFor(app, expired, Object.entries(operator).flat())).toMatchObject({ reason: "expired" });
  });
});

describe("an API key", () => {
  const path = "/secrets/1/1/1";

  test.each([
    ["in the URL", (token: string): [string, RawHeaders] => [`${path}?key=${token}`, []]],
    ["in its header", (token: string): [string, RawHeaders] => [path, ["x-api-key", token]]],
    ["in both", (token: string): [string, RawHeaders] => [`${path}?key=${token}`, ["x-api-key", token]]],
  ])("opens its datasets' tiles to its pages: %s", async (_where, sent) => {
    const [target, headers] = sent(key.token);
    const answer = await askFor(app, target, [...headers, ...page]);
    expect(answer.status).toBe(200);
    expect(own(answer)).toEqual({
      scope: "secrets",
      account: ACCOUNT,
      "key-id": key.id,
      principal: "api_key",
      cache: "private",
    });
    // Each use must be asked about.
    expect(answer.headers["cache-control"]).toBe("no-store");
  });

  test("opens what is public, and composite tiles of which it opens every part", async () => {
    const composite = await askFor(app, "/roads,secrets/1/1/1", ["x-api-key", key.token, ...page]);
    expect(own(composite)).toMatchObject({ scope: "roads,secrets", cache: "private" });
    const open = await askFor(app, "/roads/1/1/1", ["x-api-key", key.token, ...page]);
    expect(own(open)).toMatchObject({ scope: "roads", cache: "public" });
    expect(await askFor(app, "/roads,drafts/1/1/1", ["x-api-key", key.token, ...page])).toMatchObject({
      reason: "dataset",
    });
  });

  test.each([
    ["origin", "/secrets/1/1/1", ["origin", "https://evil.example", "user-agent", "Map"]],
    ["origin", "/secrets/1/1/1", ["user-agent", "Map"]],
    ["user_agent", "/secrets/1/1/1", ["origin", PAGE, "user-agent", "curl"]],
    ["dataset", "/drafts/1/1/1", page],
    ["dataset", "/nothing/1/1/1", page],
    ["dataset", `/raster-tiles/${DRAFT}/tiles/1/1/1.png`, page],
  ] as const)("is refused: %s, %s, %s", async (reason, target, headers) => {
    expect(await askFor(app, target, ["x-api-key", key.token, ...headers])).toMatchObject({
      status: 403,
      reason,
    });
  });

  test("is refused from other addresses than those that it is locked to, as the proxy tells them", async () => {
    const { token } = await newKey({ allowedIps: ["203.0.113.0/24"] });
    const from = (address: string) =>
      askFor(app, "/roads/1/1/1", ["x-api-key", token, "x-forwarded-for", address]);
    expect(await from("203.0.113.9")).toMatchObject({ status: 200 });
    expect(await from("198.51.100.9")).toMatchObject({ status: 403, reason: "ip" });
    // Of a client's own header the proxy's entry comes last.
    expect(await from("203.0.113.9, 198.51.100.9")).toMatchObject({ status: 403, reason: "ip" });
    expect(await askFor(app, "/roads/1/1/1", ["x-api-key", token])).toMatchObject({ reason: "ip" });
  });

  test("that is malformed, unknown, disabled, deleted or sent twice is refused, and nothing more is told", async () => {
    const [disabled, deleted] = [await newKey(), await newKey()];
    await app.useCases.apiKeys.update(OPERATOR, disabled.id, { enabled: false });
    await app.useCases.apiKeys.delete(OPERATOR, deleted.id);
    const sent: RawHeaders[] = [
      ...["nonsense", disabled.token, deleted.token, `${key.token}x`].map((token) => ["x-api-key", token]),
      ["x-api-key", key.token, "x-api-key", key.token, ...page],
    ];
    for (const headers of sent) {
      expect(await askFor(app, path, headers)).toMatchObject({ status: 403, reason: "key" });
    }
  });

  test("of another account opens nothing but what is public", async () => {
    const { token } = await newKey({}, other);
    expect(await askFor(app, path, ["x-api-key", token])).toMatchObject({ status: 403, reason: "dataset" });
    expect(await askFor(app, "/roads/1/1/1", ["x-api-key", token])).toMatchObject({ status: 200 });
  });

  test.each([
    [undefined, 429],
    ["403", 403],
  ])(
    "that was used too often is told when to come back: FORWARD_AUTH_RATE_LIMIT_STATUS %s",
    async (setting, status) => {
      await using limited = await startWithTiles(
        setting === undefined ? {} : { FORWARD_AUTH_RATE_LIMIT_STATUS: setting },
      );
      const rateLimit = { requests: 2, windowSeconds: 60 };
      const { token } = await limited.useCases.apiKeys.create(OPERATOR, { rateLimit }, ACCOUNT);
      const statuses = [];
      for (let use = 0; use < 3; use += 1) {
        const answer = await askFor(limited, "/roads/1/1/1", ["x-api-key", token]);
        statuses.push(answer.status);
        if (use < 2) continue;
        expect(answer.reason).toBe("rate_limited");
        expect(Number(answer.headers["retry-after"])).toBeGreaterThan(0);
      }
      expect(statuses).toEqual([200, 200, status]);
    },
  );
});

describe("other callers", () => {
  test.each(["/roads/1/1/1", "/secrets/1/1/1", "/nothing/1/1/1"])(
    "without a credential are asked for one, whatever %s is",
    async (target) => {
      const answer = await askFor(app, target);
      expect(answer).toMatchObject({ status: 401, reason: "missing" });
      expect(answer.headers["www-authenticate"]).toBe("Bearer");
    },
  );

  test("get what the access table gives them", async () => {
    const olga = await app.user({ sub: "olga", account: ACCOUNT });
    const eve = await app.user({ sub: "eve", account: ACCOUNT });
    const { secret } = await app.useCases.accounts.createServiceToken(OPERATOR, {
      accountId: ACCOUNT,
      name: "",
    });
    const outcome = async (headers: Record<string, string>, target = "/secrets/1/1/1") => {
      const answer = await askFor(app, target, Object.entries(headers).flat());
      return answer.status === 200 ? answer.headers["x-tilegate-principal"] : answer.reason;
    };
    expect(await outcome(olga)).toBe("user");
    expect(await outcome(eve)).toBe("dataset");
    expect(await outcome({ authorization: `Token ${secret}` })).toBe("service");
    expect(await outcome({ authorization: `Token ${secret}` }, "/drafts/1/1/1")).toBe("service");
    expect(await outcome(operator, "/drafts/1/1/1")).toBe("operator");
    expect(await outcome(operator, "/nothing/1/1/1")).toBe("dataset");
    // A credential that doesn't resolve is never taken for anonymous, which here would be 401.
    expect(await outcome({ authorization: "Bearer nonsense" }, "/roads/1/1/1")).toBe("key");
  });
});

describe("what a proxy says of the original request", () => {
  const good = `/roads/1/1/1?${queryOf("roads")}`;

  test.each([
    ["nginx", ["X-Original-URI", good]],
    ["nginx, with its method", ["X-Original-URI", good, "X-Original-Method", "HEAD"]],
    ["Caddy and Traefik", ["X-Forwarded-Uri", good, "X-Forwarded-Method", "GET", "X-Forwarded-Host", "evil"]],
    ["a proxy behind another", ["X-Original-URI", good, "X-Forwarded-Uri", good]],
  ])("counts: %s", async (_who, headers) => {
    expect(await ask(app, headers)).toMatchObject({ status: 200 });
    expect(await ask(app, headers, "HEAD")).toMatchObject({ status: 200 });
  });

  test.each([
    ["nothing", []],
    ["the other one differs", ["X-Original-URI", good, "X-Forwarded-Uri", `${good}&a`]],
    ["it is there twice", ["X-Original-URI", good, "X-Original-URI", good]],
    ["another method", ["X-Forwarded-Uri", good, "X-Forwarded-Method", "POST"]],
    ["two methods", ["X-Forwarded-Uri", good, "X-Forwarded-Method", "GET", "X-Forwarded-Method", "GET"]],
    ["a method in another case", ["X-Forwarded-Uri", good, "X-Forwarded-Method", "get"]],
    ["an absolute URI", ["X-Original-URI", `http://tiles.example.com${good}`]],
    ["an empty one", ["X-Original-URI", ""]],
  ])("is refused: %s", async (_what, headers) => {
    expect(await ask(app, headers)).toMatchObject({ status: 403, reason: "malformed" });
  });

  test.each(["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])("is refused for %s", async (method) => {
    expect(await ask(app, ["X-Original-URI", good, "content-length", "0"], method)).toMatchObject({
      status: 403,
    });
  });

  test("counts only from a proxy that is trusted", async () => {
    await using distrustful = await startWithTiles({ TRUSTED_PROXIES: "10.0.0.0/8" });
    const headers = ["X-Original-URI", good, "X-Forwarded-For", "10.0.0.1"];
    expect(await ask(distrustful, headers)).toMatchObject({ status: 403, reason: "malformed" });
  });

  test("is pinned to one header by FORWARD_AUTH_URI_HEADER, whatever the other says", async () => {
    await using pinned = await startWithTiles({ FORWARD_AUTH_URI_HEADER: "X-Forwarded-Uri" });
    const forged = ["X-Original-URI", "/secrets/1/1/1"];
    expect(await ask(pinned, ["X-Forwarded-Uri", good, ...forged])).toMatchObject({ status: 200 });
    expect(await ask(pinned, ["X-Original-URI", good])).toMatchObject({ status: 403, reason: "malformed" });
  });
});

test("a refusal can be read by the page that asked for the tile", async () => {
  const answer = await askFor(app, "/roads/1/1/1", ["origin", PAGE]);
  expect(answer.headers["access-control-allow-origin"]).toBe("*");
  expect(answer.headers["access-control-expose-headers"]).toContain("X-Tilegate-Reason");
  expect(JSON.parse(answer.body)).toEqual({
    type: "about:blank",
    status: 401,
    detail: "a tile token or an API key is required",
    reason: "missing",
  });
});

test("each request is observed as one, by the status that it was answered with", async () => {
  const before = app.log.length;
  await askFor(app, "/roads/1/1/1", ["x-request-id", "of-a-tile"]);
  const line = app.log.slice(before).find((text) => text.includes("of-a-tile"));
  expect(JSON.parse(line ?? "{}")).toMatchObject({ rest: "auth.tiles", code: "401" });
});

describe("with several accounts", () => {
  test("a table's name alone opens nothing, an id does, and a path with an account what is that account's", async () => {
    await using multi = await startWithTiles({
      TENANCY: "multi",
      TILE_PATHS: "geolens,martin,/t/{account}/{table}/{z}/{x}/{y}.pbf",
    });
    const scope = `${ACCOUNT}:secrets`;
    const outcome = async (target: string, headers: RawHeaders = []) => {
      const answer = await askFor(multi, target, headers);
      return answer.reason ?? answer.status;
    };
    const own = Object.entries(await multi.user({ sub: "olga", account: ACCOUNT })).flat();
    expect(await outcome(`/t/${ACCOUNT}/secrets/1/1/1.pbf?${queryOf(scope)}`)).toBe(200);
    expect(await outcome(`/t/${ACCOUNT}/secrets/1/1/1.pbf`, own)).toBe(200);
    // Whoever names a table alike in an account of their own has such a token.
    expect(await outcome(`/t/${ACCOUNT}/secrets/1/1/1.pbf?${queryOf(`${other}:secrets`)}`)).toBe("scope");
    expect(await outcome(`/secrets/1/1/1?${queryOf(scope)}`)).toBe("scope");
    expect(await outcome("/secrets/1/1/1", own)).toBe("dataset");
    const raster = `/raster-tiles/${RASTER}/tiles/1/1/1.png`;
    expect(await outcome(`${raster}?${queryOf(`${ACCOUNT}:${RASTER}`)}`)).toBe(200);
    expect(await outcome(raster, own)).toBe(200);
  });
});

async function newKey(input: Parameters<typeof app.useCases.apiKeys.create>[1] = {}, accountId = ACCOUNT) {
  const { token = "", key } = await app.useCases.apiKeys.create(OPERATOR, input, accountId);
  return { id: key.id, token };
}

async function createTable(tableName: string) {
  const input = { ...aVectorDataset, accountId: ACCOUNT, tableName };
  return app.useCases.datasets.create(OPERATOR, input);
}
