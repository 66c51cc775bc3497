import { randomUUID } from "node:crypto";
import { getOption } from "@bufbuild/protobuf";
import { field as fieldRules } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { startGenerator } from "../../bench/generator/start.mjs";
import { batchRequest } from "../../bench/requests.mjs";
import { DatasetSchema, RasterTilesSchema } from "../../dist/gen/proto/tilegate/v1/dataset_pb.js";
import { call, createAgent } from "../client.mjs";
import { processesOf } from "../processes.mjs";

const DATASETS = 5_000;
const SHORT_DATASETS = 100;
/** What a request may be: fewer fat datasets fit into it than their number allows. */
const MAX_BODY_BYTES = 60 * 1024;
const BATCH = 50;
const ROUNDS = 2;
const IN_FLIGHT = 4;
/** Beside the defaults. */
const TEMPLATE_REST = "/{z}/{x}/{y}";
/** Of each process. */
const MAX_RESIDENT_MB = 280;

/** @type {import("../stage.mjs").Attack} */
export const fatDatasets = {
  name: "fat-datasets",
  description: `${DATASETS} datasets as fat as dataset.proto allows, by one tenant, then asked for`,
  async run(stage) {
    const { outcome } = await stage.attack(import.meta.url, "fill", {
      count: stage.short ? SHORT_DATASETS : DATASETS,
      serviceToken: stage.fixture.serviceToken,
    });
    const { batches } = await stage.honest();
    return [
      { what: "written", value: outcome.written },
      { what: "kB each", value: outcome.bytesEach / 1000 },
      {
        what: "write refused",
        value: outcome.refusals.length,
        max: 0,
        details: outcome.refusals.slice(0, 5),
      },
      { what: "batches not answered", value: outcome.unanswered, max: 0 },
      {
        what: "memory in all",
        value: stage.highestMb(),
        max: MAX_RESIDENT_MB * processesOf(stage.target.pid).length,
        unit: "MB",
      },
      { what: "honest failures", value: batches.failed, max: 0 },
    ];
  },
};

const COLD_SECONDS = 10;
const COLD_REQUESTS = 2_000;

/** @type {import("../stage.mjs").Attack} */
export const anonymousCold = {
  name: "anonymous-cold",
  description: "batches of 50 random ids by strangers, as many as are answered",
  withRedis: true,
  cleartextOnly: true,
  notShort: true,
  async run(stage) {
    const generator = await startGenerator();
    try {
      const outcome = await generator.load({
        port: stage.target.port,
        requests: Array.from({ length: COLD_REQUESTS }, () =>
          batchRequest("json", Array.from({ length: BATCH }, randomUUID), {}),
        ),
        seconds: COLD_SECONDS,
      });
      return [
        { what: "batches a second", value: outcome.calls / outcome.seconds },
        { what: "memory +", value: stage.highestMb() - stage.beforeMb, unit: "MB" },
      ];
    } finally {
      await generator.stop();
    }
  },
};

/** The longest text that a field's rules allow. @param {import("@bufbuild/protobuf").DescField} field */
function fattest(field) {
  const rules = getOption(field, fieldRules);
  const text = rules.type.case === "repeated" ? rules.type.value.items?.type : rules.type;
  if (text?.case !== "string") throw new Error(`${field.name} has no rules for its text`);
  const { maxBytes, maxLen } = text.value;
  // Where characters are counted, one that takes two bytes in memory.
  return maxBytes > 0n ? "x".repeat(Number(maxBytes)) : "ж".repeat(Number(maxLen));
}

/** @param {import("@bufbuild/protobuf").DescField} field */
function mostItems(field) {
  const { type } = getOption(field, fieldRules);
  if (type.case !== "repeated") throw new Error(`${field.name} has no rules for its items`);
  return Number(type.value.maxItems);
}

/** No two have an item in common. @param {number} index */
function fatDataset(index) {
  const { readerRoles, readerSubjects, owner, title } = DatasetSchema.field;
  const { tileUrlTemplate } = RasterTilesSchema.field;
  const own = (/** @type {string} */ text, /** @type {number} */ item) => {
    const mark = `${index}.${item}.`;
    return mark + text.slice(mark.length);
  };
  const readers = (/** @type {import("@bufbuild/protobuf").DescField} */ field) => {
    const text = fattest(field);
    return Array.from({ length: mostItems(field) }, (_, item) => own(text, item));
  };
  const template = fattest(tileUrlTemplate);
  const host = "https://tiles.example.com/";
  return {
    kind: "DATASET_KIND_RASTER",
    visibility: "DATASET_VISIBILITY_RESTRICTED",
    status: "PUBLICATION_STATUS_PUBLISHED",
    title: own(fattest(title), 0),
    owner: own(fattest(owner), 0),
    readerRoles: readers(readerRoles),
    readerSubjects: readers(readerSubjects),
    raster: { tileUrlTemplate: host + template.slice(host.length + TEMPLATE_REST.length) + TEMPLATE_REST },
  };
}

export const attackers = {
  /** @param {import("../client.mjs").Address & { count: number, serviceToken: string }} options */
  async fill({ count, serviceToken, ...address }) {
    const agent = createAgent(address, { keepAlive: true, maxSockets: IN_FLIGHT });
    const headers = { "content-type": "application/json", authorization: `Bearer ${serviceToken}` };
    const bytesEach = Buffer.byteLength(JSON.stringify(fatDataset(0)));
    const perRequest = Math.max(1, Math.floor(MAX_BODY_BYTES / bytesEach));
    /** @type {string[]} */
    const ids = [];
    /** @type {string[]} */
    const refusals = [];
    let next = 0;
    const write = async () => {
      while (next < count && refusals.length === 0) {
        const first = next;
        next += perRequest;
        const datasets = Array.from({ length: Math.min(perRequest, count - first) }, (_, index) =>
          fatDataset(first + index),
        );
        const path = "/tilegate.v1.DatasetService/BatchUpsertDatasets";
        const { status, body, failure } = await call(address, {
          path,
          agent,
          headers,
          body: JSON.stringify({ datasets }),
        });
        if (status === 200) ids.push(...JSON.parse(body.toString()).ids);
        else refusals.push(failure ?? `${status} ${body.subarray(0, 300)}`);
      }
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, write));

    let unanswered = 0;
    for (let round = 0; round < ROUNDS; round++) {
      for (let first = 0; first < ids.length; first += BATCH) {
        const body = JSON.stringify({ datasetIds: ids.slice(first, first + BATCH) });
        const path = "/tilegate.v1.TileTokenService/BatchGetTileTokens";
        const { status } = await call(address, { path, agent, headers, body });
        if (status !== 200) unanswered += 1;
      }
    }
    agent.destroy();
    return { outcome: { written: ids.length, bytesEach, refusals, unanswered } };
  },
};
