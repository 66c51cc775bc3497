import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { ApiKeyChange } from "../../src/domain/api-keys/settings.js";
import type { DatasetInput } from "../../src/domain/datasets/dataset-rules.js";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { generateSecret } from "../../src/domain/identity/secret.js";
import { ErrorInfoSchema, RetryInfoSchema } from "../../src/gen/proto/google/rpc/error_details_pb.js";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { aVectorDataset, NOW, PROTOCOLS, startTestApp, type TestApp } from "../harness/app.js";
import { createAccount, type TestAccount } from "./accounts.js";
import { DOORS, type DoorAnswer, http1, type SentHeaders } from "./key-doors.js";
import { refused } from "./refusals.js";

const DAY_SECONDS = 86_400;
/** NOW is 40 s into a minute, and rate limits' windows begin with it. */
const REST_OF_MINUTE_SECONDS = 20;

const LOCKED: ApiKeyChange = {
  origins: [
    "maps.example.com",
    "*.tiles.example.com",
    "dev.example.com:8080",
    "münchen.example",
    "192.0.2.1",
    "[2001:db8::1]",
  ],
};
const OWN = { origin: "https://maps.example.com" };
const EVIL = { origin: "https://evil.com" };

let app: TestApp;
let account: TestAccount;
const datasets = { private: "", unlisted: "", open: "" };

beforeAll(async () => {
  app = await startTestApp();
  account = await createAccount(app);
  const dataset = async (tableName: string, visibility: DatasetInput["visibility"]) => {
    const input = { ...aVectorDataset, accountId: account.id, tableName, visibility, owner: "ada" };
    return (await app.useCases.datasets.create(OPERATOR, input)).id;
  };
  datasets.private = await dataset("private", "private");
  datasets.unlisted = await dataset("unlisted", "private");
  datasets.open = await dataset("open", "public");
});
beforeEach(() => {
  app.now = NOW;
});
afterAll(() => app[Symbol.asyncDispose]());

const passes = (seconds: number) => {
  app.now = new Date(app.now.getTime() + seconds * 1000);
};

/** A key that lists the private dataset. */
async function create(settings: ApiKeyChange = {}) {
  const listing = { datasetIds: [datasets.private], ...settings };
  const { key, token } = await app.useCases.apiKeys.create(OPERATOR, listing, account.id);
  return { id: key.id, token };
}

/** The answers of every door, by the door's name. */
async function askEverywhere(datasetId: string, token: string | undefined, headers: SentHeaders = {}) {
  const answers: Record<string, DoorAnswer> = {};
  for (const [name, door] of Object.entries(DOORS))
    answers[name] = await door(app, datasetId, token, headers);
  return answers;
}

/** The outcome, if it is the same at every door, else each door's. */
async function outcome(...request: Parameters<typeof askEverywhere>) {
  const outcomes = Object.entries(await askEverywhere(...request)).map(([name, each]) => [
    name,
    each.outcome,
  ]);
  const [first, ...others] = new Set(outcomes.map(([, each]) => each));
  return others.length === 0 ? first : Object.fromEntries(outcomes);
}

describe("a key that lists a private dataset opens it from its own origins", () => {
  test.each<[string, SentHeaders]>([
    ["its own origin", OWN],
    ["over another scheme and port", { origin: "http://maps.example.com:8443" }],
    ["with the default port", { origin: "https://maps.example.com:443" }],
    ["in upper case", { origin: "HTTPS://MAPS.EXAMPLE.COM" }],
    ["a subdomain of a wildcard", { origin: "https://a.b.tiles.example.com" }],
    ["the port that is listed", { origin: "http://dev.example.com:8080" }],
    ["an IDN in punycode", { origin: "https://xn--mnchen-3ya.example" }],
    ["an IPv4 address", { origin: "http://192.0.2.1:3000" }],
    ["a bracketed IPv6 address", { origin: "http://[2001:DB8:0::1]:3000" }],
    ["no Origin, its own Referer", { referer: "https://maps.example.com/page?x=1" }],
    ["no Origin, a Referer of 10 kB", { referer: `https://maps.example.com/${"x".repeat(10_000)}` }],
    ["Origin against Referer: its own Origin", { ...OWN, referer: "https://evil.com/" }],
  ])("%s", async (_, headers) => {
    const { token } = await create(LOCKED);
    expect(await outcome(datasets.private, token, headers)).toBe("granted");
  });
});

describe("and from no other", () => {
  test.each<[string, SentHeaders]>([
    ["another origin", EVIL],
    ["the apex of a wildcard", { origin: "https://tiles.example.com" }],
    ["a.com.evil.com", { origin: "https://maps.example.com.evil.com" }],
    ["evila.com", { origin: "https://evilmaps.example.com" }],
    ["evila.com, of a wildcard", { origin: "https://eviltiles.example.com" }],
    ["its own as userinfo", { origin: "https://maps.example.com@evil.com" }],
    ["its own as userinfo with a password", { origin: "https://maps.example.com:443@evil.com" }],
    ["its own after a backslash", { origin: "https://evil.com\\@maps.example.com" }],
    ["its wildcard's after a backslash", { origin: "https://evil.com\\.tiles.example.com" }],
    ["its own with a trailing dot", { origin: "https://maps.example.com." }],
    ["another port than the listed one", { origin: "http://dev.example.com:8081" }],
    ["the default port, where another is listed", { origin: "http://dev.example.com" }],
    ["another IDN", { origin: "https://xn--mnchen-3yb.example" }],
    ["another IPv4 address", { origin: "http://192.0.2.11" }],
    ["another IPv6 address", { origin: "http://[2001:db8::11]" }],
    ["null", { origin: "null" }],
    ["what is no origin", { origin: "maps.example.com" }],
    ["several Origin headers, its own first", { origin: [OWN.origin, EVIL.origin] }],
    ["several Origin headers, its own last", { origin: [EVIL.origin, OWN.origin] }],
    ["several Origin headers, all its own", { origin: [OWN.origin, OWN.origin] }],
    ["Origin against Referer: its own Referer", { ...EVIL, referer: "https://maps.example.com/" }],
    ["Origin null against its own Referer", { origin: "null", referer: "https://maps.example.com/" }],
    ["Referrer-Policy: no-referrer", {}],
    ["an empty Origin and Referer", { origin: "", referer: "" }],
    ["another Referer", { referer: "https://evil.com/https://maps.example.com/" }],
    ["an Origin of 10 kB", { origin: `https://${"maps.example.com.".repeat(600)}evil.com` }],
    ["a Referer of 10 kB", { referer: `https://evil.com/?${"maps.example.com/".repeat(600)}` }],
  ])("%s", async (_, headers) => {
    const { token } = await create(LOCKED);
    expect(await outcome(datasets.private, token, headers)).toBe("unauthenticated");
    // Nor is it taken for an anonymous caller, who may see public datasets.
    expect(await outcome(datasets.open, token, headers)).toBe("unauthenticated");
  });
});

describe("a key that lists ? opens it", () => {
  test.each<[string, string, SentHeaders]>([
    ["to requests without Origin and Referer", "granted", {}],
    ["to Origin null", "granted", { origin: "null" }],
    ["to its own origin", "granted", OWN],
    ["not to an unlisted Origin", "unauthenticated", EVIL],
    ["not to an unlisted Referer", "unauthenticated", { referer: "https://evil.com/" }],
    ["not to an unlisted Origin with its own Referer", "unauthenticated", { ...EVIL, referer: OWN.origin }],
  ])("%s", async (_, expected, headers) => {
    const { token } = await create({ origins: ["maps.example.com", "?"] });
    expect(await outcome(datasets.private, token, headers)).toBe(expected);
  });
});

describe("a key for one user agent opens it", () => {
  test.each<[string, string, SentHeaders]>([
    ["to it", "granted", { "user-agent": "Mozilla/5.0 ShopApp/2.1 (iPhone)" }],
    ["not to another case of it", "unauthenticated", { "user-agent": "Mozilla/5.0 shopapp/2.1" }],
    ["not to another", "unauthenticated", { "user-agent": "curl/8" }],
    ["not to none", "unauthenticated", {}],
  ])("%s", async (_, expected, headers) => {
    const { token } = await create({ userAgent: "ShopApp/" });
    expect(await outcome(datasets.private, token, headers)).toBe(expected);
  });
});

describe("what a key opens", () => {
  test("a private dataset only if it lists it", async () => {
    const { token } = await create();
    expect(await outcome(datasets.open, token)).toBe("granted");
    const { "REST batch, X-Api-Key": batch, ...single } = await askEverywhere(datasets.unlisted, token);
    expect(batch?.outcome).toBe("refused for the dataset");
    expect(new Set(Object.values(single).map((answer) => answer.outcome))).toEqual(
      new Set(["permission denied"]),
    );
  });

  test("is decided for each request anew, whatever the one before was granted", async () => {
    const { token } = await create({ ...LOCKED, userAgent: "ShopApp/" });
    const shop = { "user-agent": "ShopApp/2.1" };
    for (const [expected, headers] of [
      ["granted", { ...OWN, ...shop }],
      ["unauthenticated", { ...EVIL, ...shop }],
      ["unauthenticated", shop],
      ["unauthenticated", { ...OWN, "user-agent": "curl/8" }],
      ["unauthenticated", OWN],
      ["granted", { ...OWN, ...shop }],
    ] as const) {
      expect(await outcome(datasets.private, token, headers)).toBe(expected);
    }
  });

  test("from its expiry on nothing", async () => {
    const { token } = await create({ expireTime: new Date(NOW.getTime() + 60_000) });
    passes(59);
    expect(await outcome(datasets.private, token)).toBe("granted");
    passes(1);
    expect(await outcome(datasets.private, token)).toBe("unauthenticated");
  });

  test("while it is disabled nothing", async () => {
    const { id, token } = await create();
    for (const [enabled, expected] of [
      [true, "granted"],
      [false, "unauthenticated"],
      [true, "granted"],
    ] as const) {
      await app.useCases.apiKeys.update(OPERATOR, id, { enabled });
      expect(await outcome(datasets.private, token)).toBe(expected);
    }
  });

  test("from its deletion on nothing, until it is restored", async () => {
    const { id, token } = await create();
    expect(await outcome(datasets.private, token)).toBe("granted");
    await app.useCases.apiKeys.delete(OPERATOR, id);
    expect(await outcome(datasets.private, token)).toBe("unauthenticated");
    await app.useCases.apiKeys.undelete(OPERATOR, id);
    expect(await outcome(datasets.private, token)).toBe("granted");
  });

  test("after a rotation, the same with both tokens during the grace, then only with the new one", async () => {
    const { id, token: old } = await create(LOCKED);
    const { token } = await app.useCases.apiKeys.rotate(OPERATOR, id);
    for (const each of [old, token]) {
      expect(await outcome(datasets.private, each, OWN)).toBe("granted");
      expect(await outcome(datasets.private, each, EVIL)).toBe("unauthenticated");
    }
    passes(DAY_SECONDS);
    expect(await outcome(datasets.private, old, OWN)).toBe("unauthenticated");
    expect(await outcome(datasets.private, token, OWN)).toBe("granted");
  });
});

test("the public can't tell why a key is refused, nor whether it exists", async () => {
  const expired = await create({ expireTime: new Date(NOW.getTime() + 1000) });
  const rotated = await create();
  await app.useCases.apiKeys.rotate(OPERATOR, rotated.id, { gracePeriodSeconds: 1 });
  const deleted = await create();
  await app.useCases.apiKeys.delete(OPERATOR, deleted.id);
  passes(1);
  const reasons = [
    "malformed",
    generateSecret("tgk_"),
    deleted.token,
    (await create({ enabled: false })).token,
    expired.token,
    rotated.token,
    (await create({ origins: ["maps.example.com"] })).token,
    (await create({ userAgent: "ShopApp/" })).token,
  ];
  const answers = [];
  for (const token of reasons)
    answers.push(await askEverywhere(datasets.private, token, { ...EVIL, "x-request-id": "same" }));
  for (const answer of answers) expect(answer).toEqual(answers[0]);
  expect(await outcome(datasets.private, "malformed", EVIL)).toBe("unauthenticated");
});

describe("a key that was used too often", () => {
  const limited = { rateLimit: { requests: 1, windowSeconds: 60 } };

  test("is answered with 429 and Retry-After over REST, until the next window", async () => {
    const { token } = await create(limited);
    const ask = (path: string) => http1(app, `${path}?key=${token}`, { headers: {} });
    expect((await ask(`/api/tiles/token/${datasets.private}/`)).status).toBe(200);
    const { status, headers, body } = await ask(`/api/tiles/token/${datasets.private}/`);
    expect([status, headers["retry-after"]]).toEqual([429, String(REST_OF_MINUTE_SECONDS)]);
    expect(headers["content-type"]).toBe("application/problem+json");
    expect(JSON.parse(body)).toMatchObject({ status: 429, reason: "API_KEY_RATE_LIMITED" });
    passes(REST_OF_MINUTE_SECONDS);
    expect((await ask(`/api/tiles/token/${datasets.private}/`)).status).toBe(200);
  });

  test.each(PROTOCOLS)("is answered with RESOURCE_EXHAUSTED and RetryInfo over %s", async (protocol) => {
    const { token } = await create(limited);
    const client = app.client(TileTokenService, { "x-api-key": token }, protocol);
    await client.getTileToken({ datasetId: datasets.private });
    const error = await refused(client.batchGetTileTokens({ datasetIds: [datasets.private] }));
    expect(Code[error.code]).toBe("ResourceExhausted");
    const [retry] = error.findDetails(RetryInfoSchema);
    expect(retry?.retryDelay?.seconds).toBe(BigInt(REST_OF_MINUTE_SECONDS));
    expect(error.metadata.get("retry-after")).toBe(String(REST_OF_MINUTE_SECONDS));
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "API_KEY_RATE_LIMITED" }]);
  });

  test("costs one use a batch, and none for requests that it refuses", async () => {
    const { token } = await create({ ...limited, ...LOCKED });
    expect(await outcome(datasets.private, token, EVIL)).toBe("unauthenticated");
    const client = app.client(TileTokenService, { "x-api-key": token, ...OWN });
    const { tokens } = await client.batchGetTileTokens({ datasetIds: Object.values(datasets) });
    expect(tokens[datasets.private]?.result.case).toBe("vector");
    await expect(client.getTileToken({ datasetId: datasets.open })).rejects.toThrow(ConnectError);
  });
});

describe("several credentials", () => {
  const path = () => `/api/tiles/token/${datasets.private}/`;
  const ask = async (query: string, headers: SentHeaders) =>
    (await http1(app, path() + query, { headers })).outcome;

  test("two different keys are refused, though each is good", async () => {
    const [{ token: a }, { token: b }] = [await create(), await create()];
    expect(await ask(`?key=${a}`, { "x-api-key": b })).toBe("unauthenticated");
    expect(await ask(`?key=${a}&key=${b}`, {})).toBe("unauthenticated");
    expect(await outcome(datasets.private, undefined, { "x-api-key": [a, b] })).toBe("unauthenticated");
  });

  test("a good key beside an empty one is refused", async () => {
    const { token } = await create();
    expect(await ask(`?key=${token}&key=`, {})).toBe("unauthenticated");
    expect(await ask(`?key=`, { "x-api-key": token })).toBe("unauthenticated");
  });

  test("the same key twice is one key", async () => {
    const { token } = await create();
    expect(await ask(`?key=${token}&key=${token}`, { "x-api-key": token })).toBe("granted");
  });

  test("an empty key is a key, and refused", async () => {
    expect(await ask("?key=", {})).toBe("unauthenticated");
    expect(await outcome(datasets.open, "")).toBe("unauthenticated");
  });

  test("?key= is no credential of RPCs", async () => {
    const { token } = await create();
    const body = { datasetId: datasets.private };
    const answer = await http1(app, `/tilegate.v1.TileTokenService/GetTileToken?key=${token}`, {
      body,
      headers: {},
    });
    expect(answer.outcome).toBe("unauthenticated");
  });

  test("beside a user, whichever of the two grants, grants", async () => {
    const owner = await app.user({ sub: "ada", account: account.id });
    const somebody = await app.user({ sub: "eve", account: account.id });
    const { token: listing } = await create();
    const { token: other } = await create({ datasetIds: [] });
    expect(await outcome(datasets.private, listing, somebody)).toBe("granted");
    expect(await outcome(datasets.private, other, owner)).toBe("granted");
    const { "REST batch, X-Api-Key": batch, ...single } = await askEverywhere(
      datasets.private,
      other,
      somebody,
    );
    expect(batch?.outcome).toBe("refused for the dataset");
    expect(new Set(Object.values(single).map((each) => each.outcome))).toEqual(
      new Set(["permission denied"]),
    );
  });

  test("one that doesn't resolve fails the request, whatever the other grants", async () => {
    const owner = await app.user({ sub: "ada", account: account.id });
    const { token } = await create(LOCKED);
    expect(await outcome(datasets.private, token, { ...owner, ...EVIL })).toBe("unauthenticated");
    expect(await outcome(datasets.private, token, { ...OWN, authorization: "Bearer x" })).toBe(
      "unauthenticated",
    );
  });
});

test("no key gets into the log, whatever becomes of the request", async () => {
  const { id, token } = await create({ ...LOCKED, rateLimit: { requests: 3, windowSeconds: 60 } });
  const { token: rotated } = await app.useCases.apiKeys.rotate(OPERATOR, id);
  const unknown = generateSecret("tgk_");
  for (const each of [token, rotated, unknown, `${token}x`]) {
    for (const headers of [OWN, EVIL]) await askEverywhere(datasets.private, each, headers);
    await http1(app, `/nowhere/${each}?key=${each}`, { headers: { authorization: `Bearer ${each}` } });
    await http1(app, `/api/tiles/tokens/?key=${each}`, { headers: OWN, body: { dataset_ids: [each] } });
    await http1(app, "/tilegate.v1.ApiKeyService/VerifyApiKey", {
      headers: account.backend,
      body: { token: each },
    });
    await http1(app, "/tilegate.v1.ApiKeyService/VerifyApiKey", { headers: {}, body: { tokn: each } });
  }
  const log = app.log.join("");
  expect(log).toContain("GetTileToken");
  for (const each of [token, rotated, unknown]) expect(log).not.toContain(each.slice(4, -6));
});
