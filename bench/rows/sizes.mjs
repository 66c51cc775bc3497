import { checkBatch } from "../answers.mjs";
import { compare, round, summarize } from "../compare.mjs";
import { batchRequest, batchSpellings, singleRequest } from "../requests.mjs";
import { fitLine, median, spread } from "../statistics.mjs";

const SIZES = [1, 5, 10, 20, 35, 50];

/** What one more dataset costs, by CPU time: it is less noisy than rates, and the question is cost. */
/** @type {import("../run.mjs").RowGroup} */
export const sizes = {
  ids: ["slope_percent", "slope_percent_distinct", "slope_percent_grpc", "batch20_vs_singles"],
  async run(bench, wanted, effort) {
    const rows = [];
    if (wanted.has("slope_percent")) {
      const same = await slope(bench, effort, (ids, credential) => [batchRequest("json", ids, credential)]);
      rows.push({ id: "slope_percent", ...same, target: 1 });
    }
    if (wanted.has("slope_percent_distinct")) {
      rows.push({ id: "slope_percent_distinct", ...(await slope(bench, effort, batchSpellings)) });
    }
    if (wanted.has("slope_percent_grpc")) {
      const grpc = await slope(bench, effort, (ids, credential) => [batchRequest("grpc", ids, credential)]);
      rows.push({ id: "slope_percent_grpc", ...grpc });
    }
    if (wanted.has("batch20_vs_singles")) rows.push(await batchAgainstSingles(bench, effort));
    return rows;
  },
};

/**
 * @param {import("../bench.mjs").Bench} bench @param {import("../compare.mjs").Effort} effort
 * @param {(ids: readonly string[], credential: Record<string, string>) => import("../requests.mjs").Request[]} requestsOf
 * @returns {Promise<Omit<import("../report.mjs").Row, "id">>}
 */
async function slope(bench, { rounds, seconds }, requestsOf) {
  const { datasets, apiKey } = bench.fixture;
  const contestants = SIZES.map((size) => {
    // The same share of rasters in every size: their tokens are thrice as long.
    const rasters = datasets.filter(({ kind }) => kind === "raster").slice(0, Math.round(size / 10));
    const vectors = datasets.filter(({ kind }) => kind === "vector").slice(0, size - rasters.length);
    const asked = [...rasters, ...vectors];
    const requests = requestsOf(
      asked.map(({ id }) => id),
      { "x-api-key": apiKey },
    );
    const protocol = requests[0]?.protocol === "http1" ? "json" : "grpc";
    return { name: String(size), server: "tilegate", requests, check: checkBatch(protocol, asked) };
  });
  const measured = await compare(bench, contestants, { rounds, seconds: seconds / 2 });
  const lines = Array.from({ length: rounds }, (_, index) =>
    fitLine(SIZES.map((size) => [size, measured.get(String(size))?.[index]?.cpuMicroseconds ?? Number.NaN])),
  );
  const percents = lines.map((line) => (line.slope / line.intercept) * 100);
  return {
    value: round(median(percents), 2),
    unit: "%",
    better: "<=",
    spread: spread(percents).map((each) => round(each, 2)),
    absolute: {
      fixed_us: round(median(lines.map(({ intercept }) => intercept)), 2),
      each_dataset_us: round(median(lines.map((line) => line.slope)), 3),
      cpu_us_per_call: Object.fromEntries(
        [...measured].map(([size, all]) => [`of_${size}`, summarize(all).cpu_us_per_call]),
      ),
    },
  };
}

/**
 * @param {import("../bench.mjs").Bench} bench @param {import("../compare.mjs").Effort} effort
 * @returns {Promise<import("../report.mjs").Row>}
 */
async function batchAgainstSingles(bench, effort) {
  const { datasets, apiKey } = bench.fixture;
  const asked = datasets.slice(0, 20);
  const ids = asked.map(({ id }) => id);
  const credential = { "x-api-key": apiKey };
  const measured = await compare(
    bench,
    [
      {
        name: "batch",
        server: "tilegate",
        requests: [batchRequest("json", ids, credential)],
        check: checkBatch("json", asked),
      },
      {
        name: "single",
        server: "tilegate",
        requests: ids.map((id) => singleRequest("json", id, credential)),
      },
    ],
    effort,
  );
  const [batches = [], singles = []] = [measured.get("batch"), measured.get("single")];
  const shares = batches.map(
    ({ cpuMicroseconds }, index) => cpuMicroseconds / (20 * (singles[index]?.cpuMicroseconds ?? Number.NaN)),
  );
  return {
    id: "batch20_vs_singles",
    value: round(median(shares), 4),
    unit: "x",
    target: round(1 / 12, 4),
    better: "<=",
    spread: spread(shares).map((each) => round(each, 4)),
    absolute: { batch: summarize(batches), single: summarize(singles) },
  };
}
