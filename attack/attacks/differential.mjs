import { randomInt } from "node:crypto";
import { gzipSync } from "node:zlib";
import { ORIGIN } from "../../bench/fixture.mjs";
import { openHttp1 } from "../../bench/generator/http1.mjs";
import { openHttp2, prepareHttp2 } from "../../bench/generator/http2.mjs";
import { grpcFrame } from "../../harness/grpc-frame.mjs";
import { call } from "../client.mjs";
import { createRandom } from "../random.mjs";

const PAIRS = 100_000;
const SHORT_PAIRS = 1_500;
const CONNECTIONS = 8;
const DIFFERENCES_TOLD = 10;

const RPC = "/tilegate.v1.TileTokenService/BatchGetTileTokens";
const SINGLE = "/tilegate.v1.TileTokenService/GetTileToken";
const REST = "/api/tiles/tokens/";
const PUBLIC_IDS = 3;

/** @type {import("../stage.mjs").Attack} */
export const differential = {
  name: "differential",
  description: `${PAIRS} random questions, each to the codecs of the hot RPCs and to the framework, several callers in each second`,
  cleartextOnly: true,
  async run(stage) {
    const { fixture, short } = stage;
    const { outcome } = await stage.attack(import.meta.url, "compare", {
      pairs: short ? SHORT_PAIRS : PAIRS,
      seed: randomInt(2 ** 31),
      serviceToken: fixture.serviceToken,
      operatorToken: fixture.env.OPERATOR_TOKEN,
      apiKey: fixture.apiKey,
      jwt: fixture.jwt,
      publicIds: fixture.datasets.slice(0, PUBLIC_IDS).map(({ id }) => id),
    });
    return [
      { what: "pairs", value: outcome.pairs },
      { what: "granted", value: outcome.granted },
      { what: "seed", value: outcome.seed },
      { what: "paths not told apart", value: outcome.isToldApart ? 0 : 1, max: 0 },
      { what: "differences", value: outcome.differences, max: 0, details: outcome.told },
    ];
  },
};

/**
 * @typedef {readonly (readonly [name: string, value: string])[]} Fields
 * @typedef {"json" | "rest" | "single" | "h2" | "grpc"} Protocol
 * @typedef {{ protocol: Protocol, fields: Fields, ids: readonly string[] }} Question
 * @typedef {{ status: number, body: string }} Answer
 */

/** In place of a field's value. */
const ABSENT = undefined;

/**
 * @param {() => number} random
 * @param {{ credentials: readonly string[], keys: readonly string[], ids: readonly string[] }} from
 * @returns {() => Question}
 */
function createQuestions(random, { credentials, keys, ids }) {
  const pick = (/** @type {readonly any[]} */ values) => values[Math.floor(random() * values.length)];
  const literals = ["undefined", "null", "", "Bearer undefined", "Bearer ", "Bearer", "Token x"];
  const authorizations = [ABSENT, ABSENT, ABSENT, ABSENT, ...credentials, ...literals];
  const apiKeys = [ABSENT, ABSENT, ...keys, ...keys, "undefined", "null", "", "tgk_x"];
  const origins = [
    ABSENT,
    ABSENT,
    ORIGIN,
    ORIGIN,
    "https://evil.example",
    "undefined",
    "null",
    "",
    `${ORIGIN}, ${ORIGIN}`,
  ];
  const referers = [ABSENT, ABSENT, `${ORIGIN}/map`, "https://evil.example/", "undefined", "null", ""];
  const agents = [ABSENT, "Mozilla/5.0", "curl/8", "undefined", "null", ""];
  const forwarded = [ABSENT, ABSENT, "203.0.113.9", "203.0.113.9", "198.51.100.1", "undefined", "null", ""];
  const protocols = /** @type {const} */ (["json", "json", "rest", "single", "h2", "grpc"]);

  return () => {
    const protocol = /** @type {Protocol} */ (pick(protocols));
    /** @type {[string, string][]} */
    const fields = [];
    const add = (/** @type {string} */ name, /** @type {readonly (string | undefined)[]} */ values) => {
      const value = pick(values);
      if (value === undefined) return;
      const form = random();
      // HTTP/1.1 alone: over HTTP/2 blanks around a value are no part of a field.
      const isHttp1 = protocol !== "h2" && protocol !== "grpc";
      if (form < 0.04 && isHttp1) fields.push([name, ` ${value} `]);
      else if (form < 0.07) fields.push([name, `${value}, ${pick(values) ?? "undefined"}`]);
      else fields.push([name, value]);
      if (form > 0.95) fields.push([name, pick(values) ?? "undefined"]);
    };
    add("authorization", authorizations);
    add("x-api-key", apiKeys);
    add("origin", origins);
    add("referer", referers);
    add("user-agent", agents);
    add("x-forwarded-for", forwarded);
    const asked = ids.filter(() => random() < 0.6);
    return { protocol, fields, ids: asked.length === 0 ? [pick(ids)] : asked };
  };
}

/** What the codecs leave to the framework, though it means the same. */
const PLAIN = /** @type {const} */ (["content-encoding", "identity"]);
/** Over gRPC: a deadline below 10 s. */
const PLAIN_GRPC = /** @type {const} */ (["grpc-timeout", "9S"]);

/** @param {Question} question @param {Fields} extra @returns {import("../../bench/generator/main.mjs").Prepared} */
function prepare({ protocol, fields, ids }, extra) {
  if (protocol === "h2" || protocol === "grpc") {
    const isGrpc = protocol === "grpc";
    const message = Buffer.concat(
      ids.map((id) => Buffer.concat([Buffer.of(0x0a, id.length), Buffer.from(id)])),
    );
    return prepareHttp2({
      headers: [
        [":method", "POST"],
        [":scheme", "http"],
        [":path", RPC],
        [":authority", "tilegate.example.com"],
        ["content-type", isGrpc ? "application/grpc" : "application/json"],
        ...(isGrpc ? /** @type {Fields} */ ([["te", "trailers"]]) : []),
        ...fields,
        ...extra,
      ],
      body: isGrpc ? grpcFrame(message) : Buffer.from(JSON.stringify({ datasetIds: ids })),
    });
  }
  const asked = { json: { datasetIds: ids }, rest: { dataset_ids: ids }, single: { datasetId: ids[0] } }[
    protocol
  ];
  const path = { json: RPC, rest: REST, single: SINGLE }[protocol];
  const body = JSON.stringify(asked);
  const lines = [
    ["host", "a"],
    ["content-type", "application/json"],
    ["content-length", String(body.length)],
    ...fields,
    ...extra,
  ];
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  return {
    bytes: Buffer.from(`POST ${path} HTTP/1.1\r\n${head}\r\n${body}`),
    dataIdAt: 0,
    bodyBytes: body.length,
  };
}

/** Who asks, and for what: made through the service. @param {import("../client.mjs").Address & Record<string, any>} options */
async function createCallers(options) {
  const { serviceToken, operatorToken, apiKey, jwt, publicIds, port, tls } = options;
  const manage = async (
    /** @type {string} */ method,
    /** @type {object} */ message,
    token = serviceToken,
  ) => {
    const headers = { "content-type": "application/json", authorization: `Bearer ${token}` };
    const answer = await call(
      { port, tls },
      { path: `/tilegate.v1.${method}`, headers, body: JSON.stringify(message) },
    );
    if (answer.status !== 200) throw new Error(`${method}: ${answer.status} ${answer.body}`);
    return JSON.parse(answer.body.toString());
  };
  const mark = Date.now().toString(36);
  const dataset = { kind: "DATASET_KIND_VECTOR", status: "PUBLICATION_STATUS_PUBLISHED" };
  const { ids: hidden } = await manage("DatasetService/BatchUpsertDatasets", {
    datasets: [
      { ...dataset, tableName: `private_${mark}`, visibility: "DATASET_VISIBILITY_PRIVATE" },
      {
        ...dataset,
        tableName: `restricted_${mark}`,
        visibility: "DATASET_VISIBILITY_RESTRICTED",
        readerRoles: ["viewer"],
      },
      {
        ...dataset,
        tableName: `draft_${mark}`,
        visibility: "DATASET_VISIBILITY_PUBLIC",
        status: "PUBLICATION_STATUS_DRAFT",
      },
    ],
  });
  const keyOf = async (/** @type {object} */ settings) =>
    (await manage("ApiKeyService/CreateApiKey", { apiKey: settings })).apiKey.token;
  const { account } = await manage("AccountService/CreateAccount", { name: `other ${mark}` }, operatorToken);
  const { token: stranger } = await manage(
    "AccountService/CreateServiceToken",
    { accountId: account.id },
    operatorToken,
  );
  return {
    credentials: [
      `Bearer ${serviceToken}`,
      `Token ${serviceToken}`,
      `Bearer ${operatorToken}`,
      `Bearer ${jwt}`,
      `Bearer ${stranger}`,
    ],
    keys: [
      apiKey,
      await keyOf({ origins: ["?"], datasetIds: hidden.slice(0, 2) }),
      await keyOf({ origins: ["maps.example.com", "?"], datasetIds: hidden.slice(0, 1) }),
      await keyOf({ userAgent: "Mozilla", datasetIds: hidden.slice(0, 1) }),
      await keyOf({ allowedIps: ["203.0.113.0/24"], datasetIds: hidden.slice(0, 1) }),
      await keyOf({ enabled: false }),
    ],
    ids: [...publicIds, ...hidden, "00000000-0000-4000-8000-000000000000"],
  };
}

/** @param {Answer} fast @param {Answer} plain */
const isSame = (fast, plain) => fast.status === plain.status && normal(fast.body) === normal(plain.body);

/** Two writers of JSON may order members otherwise. @param {string} body */
function normal(body) {
  if (!body.startsWith("{")) return body;
  return JSON.stringify(JSON.parse(body), (_key, value) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
}

export const attackers = {
  /** @param {import("../client.mjs").Address & { pairs: number, seed: number } & Record<string, any>} options */
  async compare(options) {
    const { port, pairs, seed } = options;
    const callers = await createCallers(options);
    /** @type {((answer: Answer) => void)[]} */
    const waiting = [];
    /** @type {(error: Error) => void} */
    let onFail = () => {};
    const failure = new Promise((_, reject) => {
      onFail = reject;
    });
    failure.catch(() => {});
    const common = {
      port,
      onFail,
      onDone: (
        /** @type {number} */ slot,
        /** @type {number} */ status,
        /** @type {number} */ _bytes,
        /** @type {Buffer | undefined} */ sample,
      ) => waiting[slot]?.({ status, body: (sample ?? Buffer.alloc(0)).toString("latin1") }),
    };
    const http1 = await openHttp1({ ...common, connections: 2 * CONNECTIONS });
    const http2 = await openHttp2({ ...common, connections: 2, streams: 2 * CONNECTIONS });
    const ask = (/** @type {number} */ slot, /** @type {Question} */ question, /** @type {Fields} */ extra) =>
      new Promise((/** @type {(answer: Answer) => void} */ resolve) => {
        waiting[slot] = resolve;
        const isHttp2 = question.protocol === "h2" || question.protocol === "grpc";
        (isHttp2 ? http2 : http1).send(slot, prepare(question, extra), true);
      });
    /** Back to back: within one second, nearly always. @returns {Promise<[fast: Answer, plain: Answer]>} */
    const askBoth = (/** @type {number} */ worker, /** @type {Question} */ question) =>
      Promise.all([
        ask(2 * worker, question, []),
        ask(2 * worker + 1, question, [question.protocol === "grpc" ? PLAIN_GRPC : PLAIN]),
      ]);

    const next = createQuestions(createRandom(seed), callers);
    /** @type {string[]} */
    const told = [];
    let [asked, granted, differences] = [0, 0, 0];
    const work = async (/** @type {number} */ worker) => {
      while (asked < pairs) {
        asked += 1;
        const question = next();
        const begun = secondNow();
        let [fast, plain] = await askBoth(worker, question);
        // What is left of a token's time has changed with it.
        if (secondNow() !== begun && !isSame(fast, plain)) [fast, plain] = await askBoth(worker, question);
        if (fast.status === 200) granted += 1;
        if (isSame(fast, plain)) continue;
        differences += 1;
        if (told.length < DIFFERENCES_TOLD) told.push(JSON.stringify({ ...question, fast, plain }));
      }
    };
    const isToldApart = await tellApart(ask, callers.ids);
    await Promise.race([
      Promise.all(Array.from({ length: CONNECTIONS }, (_, worker) => work(worker))),
      failure,
    ]);
    http1.close();
    http2.close();
    return { outcome: { pairs: asked, granted, seed, isToldApart, differences, told } };
  },
};

const secondNow = () => Math.floor(Date.now() / 1000);

/**
 * Whether the two are two: the framework compresses for who accepts it, the codecs never.
 * @param {(slot: number, question: Question, extra: Fields) => Promise<Answer>} ask @param {readonly string[]} ids
 */
async function tellApart(ask, ids) {
  /** @type {Question} */
  const question = { protocol: "json", fields: [["accept-encoding", "gzip"]], ids };
  // The second time it is warm.
  await ask(0, question, []);
  const [fast, plain] = [await ask(0, question, []), await ask(1, question, [PLAIN])];
  const magic = gzipSync("").subarray(0, 2).toString("latin1");
  return fast.body.startsWith("{") && plain.body.startsWith(magic);
}
