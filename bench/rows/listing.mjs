import { fromBinary, fromJsonString } from "@bufbuild/protobuf";
import { createCursors } from "../../dist/front/cursors.js";
import { ListApiKeysResponseSchema } from "../../dist/gen/proto/tilegate/v1/api_key_service_pb.js";
import { insertKeys, sealPage } from "../bulk.mjs";
import { compare, ratioRow, ratios, round, summarize } from "../compare.mjs";
import { listRequest } from "../requests.mjs";
import { median, spread } from "../statistics.mjs";

const LIMIT = 50;
const IN_FLIGHT = 4;
const [SMALL, MIDDLE, LARGE] = [100, 10_000, 1_000_000];

/** @type {import("../run.mjs").RowGroup} */
export const listing = {
  ids: ["deep_page", "page_vs_handwritten"],
  async run(bench, wanted, effort) {
    const rows = [];
    if (wanted.has("page_vs_handwritten")) rows.push(await againstHand(bench, effort));
    if (wanted.has("deep_page")) rows.push(await deepPage(bench, effort));
    return rows;
  },
};

/**
 * A page in JSON, against one that is read and decrypted by hand and has no total.
 * @param {import("../bench.mjs").Bench} bench @param {import("../compare.mjs").Effort} effort
 * @returns {Promise<import("../report.mjs").Row>}
 */
async function againstHand(bench, effort) {
  const accountId = await insertKeys(bench, SMALL);
  const { tokens } = await sealPage(bench, accountId, 0, LIMIT);
  await bench.sql.query("VACUUM ANALYZE api_keys");
  const page = {
    requests: [listRequest("json", accountId, "", bench.fixture.env.OPERATOR_TOKEN ?? "")],
    inFlight: IN_FLIGHT,
    check: (/** @type {Buffer} */ answer) => {
      const { apiKeys } = fromJsonString(ListApiKeysResponseSchema, answer.toString());
      const shown = apiKeys.map(({ token }) => token);
      if (shown.join() !== tokens.join()) throw new Error(`not the page's tokens: ${shown}`);
    },
  };
  const measured = await compare(
    bench,
    [
      { ...page, name: "tilegate", server: "tilegate" },
      { ...page, name: "handwritten", server: "handwritten-page" },
    ],
    effort,
  );
  const [own, byHand] = measured.values();
  const row = { id: "page_vs_handwritten", target: 0.35 };
  return ratioRow(row, ["tilegate", own], ["handwritten", byHand]);
}

/**
 * @param {import("../bench.mjs").Bench} bench @param {import("../compare.mjs").Effort} effort
 * @returns {Promise<import("../report.mjs").Row>}
 */
async function deepPage(bench, effort) {
  const { process } = await bench.server("tilegate");
  const contestants = [
    ...(await pagesOf(bench, SMALL, { first: 0 })),
    ...(await pagesOf(bench, MIDDLE, { first: 0, last: MIDDLE - LIMIT })),
    ...(await pagesOf(bench, LARGE, { first: 0, middle: LARGE / 2, last: LARGE - LIMIT })),
  ];
  await bench.sql.query("VACUUM ANALYZE api_keys");
  const before = await process.usage();
  const measured = await compare(bench, contestants, effort);
  const after = await process.usage();
  const slowdown = (/** @type {string} */ name) =>
    ratios(measured.get(`${SMALL} first`) ?? [], measured.get(name) ?? [], "callsPerSecond");
  const values = slowdown(`${LARGE} last`);
  return {
    id: "deep_page",
    value: round(median(values), 3),
    unit: "x",
    target: 1.5,
    better: "<=",
    spread: spread(values).map((each) => round(each, 3)),
    absolute: {
      slower_than_first_of_100: Object.fromEntries(
        [...measured.keys()].map((name) => [name, round(median(slowdown(name)), 3)]),
      ),
      first_of_100: summarize(measured.get(`${SMALL} first`) ?? []),
      last_of_1000000: summarize(measured.get(`${LARGE} last`) ?? []),
      rss_growth_mb: Math.round((after.rssBytes - before.rssBytes) / 1e6),
    },
  };
}

/**
 * @param {import("../bench.mjs").Bench} bench @param {number} count @param {Record<string, number>} offsets
 * @returns {Promise<import("../compare.mjs").Contestant[]>}
 */
async function pagesOf(bench, count, offsets) {
  const accountId = await insertKeys(bench, count);
  const cursors = createCursors([Buffer.from(bench.fixture.env.ENCRYPTION_KEYS ?? "", "base64")]);
  const pages = [];
  for (const [name, offset] of Object.entries(offsets)) {
    const { before } = await sealPage(bench, accountId, offset, LIMIT);
    const cursor = offset === 0 ? "" : cursors.seal(before, { of: "api_keys", accountId });
    pages.push({
      name: `${count} ${name}`,
      server: "tilegate",
      requests: [listRequest("grpc", accountId, cursor, bench.fixture.env.OPERATOR_TOKEN ?? "")],
      inFlight: IN_FLIGHT,
      check: checkPage(count),
    });
  }
  return pages;
}

/** @param {number} count @returns {(answer: Buffer) => void} */
const checkPage = (count) => (answer) => {
  const { apiKeys, totalCount } = fromBinary(ListApiKeysResponseSchema, answer.subarray(5));
  if (apiKeys.length !== LIMIT || totalCount !== count) {
    throw new Error(`${apiKeys.length} keys on a page, ${totalCount} in all`);
  }
};
