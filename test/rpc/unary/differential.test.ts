import { Agent, request } from "node:http";
import { type ClientHttp2Session, connect, type OutgoingHttpHeaders } from "node:http2";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { OPERATOR } from "../../../src/domain/identity/principal.js";
import { generateSecret } from "../../../src/domain/identity/secret.js";
import { aVectorDataset, OPERATOR_TOKEN, startTestApp, type TestApp } from "../../harness/app.js";
import { connectRaw, http2EmptySettings, http2Frame, http2Preface } from "../../server/raw-client.js";

const BATCH = "/tilegate.v1.TileTokenService/BatchGetTileTokens";
const REST = "/api/tiles/tokens/";

/** Each value a line of its own; absent: no such header. */
type Header = "authorization" | "x-api-key" | "origin" | "referer" | "user-agent" | "x-forwarded-for";
type Sent = Partial<Record<Header, string[]>>;

let app: TestApp;
let ids: string[];
let pool: { authorizations: string[]; keys: string[] };
let sessions: Record<"url" | "plainUrl", ClientHttp2Session>;
const agent = new Agent({ keepAlive: true, maxSockets: 8 });

beforeAll(async () => {
  app = await startTestApp();
  sessions = { url: connect(app.url), plainUrl: connect(app.plainUrl) };
  const { accounts, datasets, apiKeys } = app.useCases;
  const { id: accountId } = await accounts.create(OPERATOR, { name: "own" });
  ids = [];
  for (const [tableName, visibility] of [
    ["open", "public"],
    ["closed", "private"],
    ["some", "restricted"],
  ] as const) {
    const input = { ...aVectorDataset, accountId, tableName, visibility, readerRoles: ["reader"] };
    ids.push((await datasets.create(OPERATOR, input)).id);
  }
  const datasetIds = ids.slice(1);
  const key = async (origins: string[], userAgent = "", allowedIps: string[] = []) =>
    (await apiKeys.create(OPERATOR, { origins, userAgent, allowedIps, datasetIds }, accountId)).token;
  const { secret } = await accounts.createServiceToken(OPERATOR, { accountId, name: "" });
  const reader = await app.user({ sub: "reader", account: accountId, roles: ["reader"] });
  pool = {
    authorizations: [
      `Token ${secret}`,
      `Bearer ${secret}`,
      reader.authorization ?? "",
      `Bearer ${OPERATOR_TOKEN}`,
    ],
    keys: [
      await key([]),
      await key(["maps.example.com"]),
      await key(["?"]),
      await key([], "QGIS"),
      await key([], "", ["203.0.113.0/24"]),
      generateSecret("tgk_"),
    ],
  };
});

afterAll(async () => {
  agent.destroy();
  sessions.url.destroy();
  sessions.plainUrl.destroy();
  await app[Symbol.asyncDispose]();
});

interface Answer {
  readonly status: number;
  readonly body: string;
}

const body = () => JSON.stringify({ dataset_ids: ids });

function overHttp1(base: string, path: string, sent: Sent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    // A list of names and values is sent line by line, as it is; Host and length then are ours to give.
    const headers = [
      ...["Host", new URL(base).host, "Content-Type", "application/json"],
      ...["Content-Length", String(body().length)],
      ...Object.entries(sent).flatMap(([name, values]) => values.flatMap((value) => [name, value])),
    ];
    const call = request(base + path, { method: "POST", agent, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk) => {
        text += chunk;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body: text }));
    });
    call.on("error", reject);
    call.end(body());
  });
}

function overHttp2(session: ClientHttp2Session, path: string, sent: Sent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers: OutgoingHttpHeaders = {
      ":method": "POST",
      ":path": path,
      "content-type": "application/json",
    };
    // Of headers that it knows, Node's client sends no more than one line.
    const sendable = Object.entries(sent).map(([name, values]) => [
      name,
      name === "x-api-key" ? values : values[0],
    ]);
    const stream = session.request({ ...headers, ...Object.fromEntries(sendable) });
    let status = 0;
    let text = "";
    stream.setEncoding("utf8");
    stream.on("response", (received) => {
      status = received[":status"] ?? 0;
    });
    stream.on("data", (chunk) => {
      text += chunk;
    });
    stream.on("end", () => resolve({ status, body: text }));
    stream.on("error", reject);
    stream.end(body());
  });
}

const LITERALS = ["undefined", "null", "", "?", "a,b"];

/** One value mostly, none often, now and then several. */
const lines = (values: () => readonly string[]) => {
  const value = fc.nat({ max: 1_000 }).map((index) => values()[index % values().length] ?? "");
  return fc.oneof(
    { weight: 4, arbitrary: fc.constant([]) },
    { weight: 6, arbitrary: value.map((one) => [one]) },
    { weight: 1, arbitrary: fc.tuple(value, value).map((both) => [...both]) },
  );
};

const aRequest = fc.record({
  authorization: lines(() => [
    ...LITERALS,
    ...pool.authorizations,
    "Bearer x",
    `${pool.authorizations[0]}, Bearer x`,
  ]),
  "x-api-key": lines(() => [...LITERALS, ...pool.keys, ...pool.keys, `${pool.keys[0]}, ${pool.keys[0]}`]),
  origin: lines(() => [
    ...LITERALS,
    "https://maps.example.com",
    "https://evil.example",
    "https://maps.example.com, https://evil.example",
  ]),
  referer: lines(() => [...LITERALS, "https://maps.example.com/a", "https://evil.example/a"]),
  "user-agent": lines(() => [...LITERALS, "QGIS/3", "curl"]),
  "x-forwarded-for": lines(() => [...LITERALS, "203.0.113.9", "198.51.100.1", "203.0.113.9, 198.51.100.1"]),
});

/** Few moments, so that callers are remembered from one request to the next: poisoning a memory is the attack. */
const aMoment = fc.nat({ max: 2 }).map((second) => new Date(1_800_000_000_000 + second * 1_000));

test.each<[string, (which: "url" | "plainUrl", sent: Sent) => Promise<Answer>]>([
  ["HTTP/1.1", (which, sent) => overHttp1(app[which], BATCH, sent)],
  ["HTTP/2", (which, sent) => overHttp2(sessions[which], BATCH, sent)],
  ["REST", (which, sent) => overHttp1(app[which], REST, sent)],
])(
  "whoever sends whatever credentials over %s gets the same answer on either path, and cheats nobody's memory",
  async (_name, ask) => {
    let granted = 0;
    await fc.assert(
      fc.asyncProperty(aRequest, aMoment, async (headers, moment) => {
        app.now = moment;
        const sent: Sent = Object.fromEntries(
          Object.entries(headers).filter(([, values]) => values.length > 0),
        );
        const [fast, plain] = [await ask("url", sent), await ask("plainUrl", sent)];
        expect(fast).toEqual(plain);
        if (fast.status === 200) granted += 1;
      }),
      { numRuns: 600 },
    );
    expect(granted).toBeGreaterThan(50);
  },
);

const one = (sent: Partial<Record<keyof Sent, string>>): Sent =>
  Object.fromEntries(Object.entries(sent).map(([name, value]) => [name, [value]]));

test("the text 'undefined' is not an absent header: it is refused, also right after somebody used the same key without it", async () => {
  app.now = new Date(1_800_000_100_000);
  const key = pool.keys[0] ?? "";
  for (let round = 0; round < 3; round += 1) {
    expect((await overHttp1(app.url, BATCH, one({ "x-api-key": key }))).status).toBe(200);
    expect(
      (await overHttp1(app.url, BATCH, one({ "x-api-key": key, authorization: "undefined" }))).status,
    ).toBe(401);
    const service = { authorization: pool.authorizations[0] ?? "" };
    expect((await overHttp1(app.url, BATCH, one(service))).status).toBe(200);
    expect((await overHttp1(app.url, BATCH, one({ ...service, "x-api-key": "undefined" }))).status).toBe(401);
  }
});

test("a stranger's request from an unknown page opens no door for the next one from a known page (poisoning)", async () => {
  app.now = new Date(1_800_000_200_000);
  const key = pool.keys[2] ?? "";
  const victim = one({ "x-api-key": key, referer: "https://evil.example/" });
  expect((await overHttp1(app.url, BATCH, victim)).status).toBe(401);
  expect((await overHttp1(app.url, BATCH, { ...victim, origin: ["undefined"] })).status).toBe(200);
  expect((await overHttp1(app.url, BATCH, victim)).status).toBe(401);
});

test("nor does one from an allowed address for the next one from another (poisoning)", async () => {
  app.now = new Date(1_800_000_250_000);
  const key = pool.keys[4] ?? "";
  for (const [address, status] of [
    ["203.0.113.9", 200],
    ["198.51.100.1", 401],
    ["undefined", 401],
    ["203.0.113.9", 200],
    ["203.0.113.9, 198.51.100.1", 401],
  ] as const) {
    const sent = one({ "x-api-key": key, "x-forwarded-for": address });
    expect([address, (await overHttp1(app.url, BATCH, sent)).status]).toEqual([address, status]);
  }
});

test("of a credential that is sent twice neither is picked, be both good or the same", async () => {
  app.now = new Date(1_800_000_300_000);
  const [good = "", other = ""] = pool.authorizations;
  const [key = "", otherKey = ""] = pool.keys;
  for (const sent of [
    { authorization: [good, "Bearer x"] },
    { authorization: ["Bearer x", good] },
    { authorization: [good, other] },
    { authorization: [good, good] },
    { authorization: [good, ""] },
    { "x-api-key": [key, otherKey] },
    { "x-api-key": [key, key] },
    { "x-api-key": ["", key] },
  ]) {
    for (const base of [app.url, app.plainUrl]) {
      for (const path of [BATCH, REST]) {
        expect([sent, (await overHttp1(base, path, sent)).status]).toEqual([sent, 401]);
      }
    }
  }
});

test("nor over HTTP/2, where Node's own object of headers has the first one only", async () => {
  app.now = new Date(1_800_000_350_000);
  const literal = (text: string) => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);
  const field = (name: string, value: string) =>
    Buffer.concat([Buffer.from([0]), literal(name), literal(value)]);
  const good = `Bearer ${OPERATOR_TOKEN}`;
  const ask = async (...authorizations: string[]) => {
    const raw = await connectRaw(Number(new URL(app.url).port));
    const headers = [
      ...[[":method", "GET"] as const, [":scheme", "http"] as const, [":authority", "x"] as const],
      [":path", "/api/tiles/token/dadadada-0000-4000-8000-000000000001"] as const,
      ...authorizations.map((value) => ["authorization", value] as const),
    ].map(([name, value]) => field(name, value));
    raw.socket.write(
      Buffer.concat([http2Preface, http2EmptySettings, http2Frame(1, 5, 1, Buffer.concat(headers))]),
    );
    // Until the problem's body is there.
    await raw.receives('"status":');
    const text = Buffer.concat(raw.received).toString("latin1");
    raw.socket.destroy();
    return /"status":(\d+)/.exec(text)?.[1];
  };
  expect(await ask(good)).toBe("404");
  expect(await ask(good, "Bearer x")).toBe("401");
  expect(await ask("Bearer x", good)).toBe("401");
  expect(await ask(good, good)).toBe("401");
});

test("of an origin that is sent twice neither is believed: the page is unknown", async () => {
  app.now = new Date(1_800_000_400_000);
  const [, locked = "", unknown = ""] = pool.keys;
  const allowed = "https://maps.example.com";
  for (const twice of [{ origin: [allowed, allowed] }, { referer: [`${allowed}/a`, `${allowed}/b`] }]) {
    expect((await overHttp1(app.url, BATCH, { "x-api-key": [locked], ...twice })).status).toBe(401);
    expect((await overHttp1(app.url, BATCH, { "x-api-key": [unknown], ...twice })).status).toBe(200);
  }
});
