import { insertDatasets } from "../bulk.mjs";
import { round } from "../compare.mjs";
import { batchRequest } from "../requests.mjs";
import { median, spread } from "../statistics.mjs";

const DATASETS = 100_000;
const BATCH = 50;

/** A fresh process that comes to know a large catalog, each dataset cold once, and its memory after that. */
/** @type {import("../run.mjs").RowGroup} */
export const catalog = {
  ids: ["cold_postgres", "rss_mb"],
  async run(bench, wanted, { rounds, seconds }) {
    const ids = await insertDatasets(bench, "catalog_", DATASETS);
    const { port, process } = await bench.startTilegate();
    const idle = await process.usage();
    const batches = Array.from({ length: DATASETS / BATCH }, (_, index) =>
      batchRequest("json", ids.slice(index * BATCH, (index + 1) * BATCH), {}),
    );
    const perRound = Math.floor(batches.length / rounds);
    const rates = [];
    const costs = [];
    for (let index = 0; index < rounds; index++) {
      const requests = batches.slice(index * perRound, (index + 1) * perRound);
      const before = await process.usage();
      const { calls, seconds: took } = await bench.load({
        port,
        requests,
        seconds: 60,
        maxCalls: requests.length,
      });
      const after = await process.usage();
      rates.push(calls / took);
      costs.push(((after.cpuSeconds - before.cpuSeconds) / calls) * 1e6);
    }

    // What it serves most is warm, over every protocol.
    const { datasets, apiKey } = bench.fixture;
    const warmIds = datasets.map(({ id }) => id);
    for (const protocol of /** @type {const} */ (["json", "grpc", "binary"])) {
      await bench.load({
        port,
        requests: [batchRequest(protocol, warmIds, { "x-api-key": apiKey })],
        seconds,
      });
    }
    const loaded = await process.usage();
    await process.stop();

    const megabytes = (/** @type {number} */ bytes) => Math.round(bytes / 1e6);
    /** @type {import("../report.mjs").Row[]} */
    const rows = [
      {
        id: "cold_postgres",
        value: Math.round(median(rates)),
        unit: "/s",
        spread: spread(rates).map(Math.round),
        absolute: { cpu_us_per_call: round(median(costs), 1), datasets_per_call: BATCH },
      },
      {
        id: "rss_mb",
        value: megabytes(loaded.rssBytes),
        unit: "MB",
        target: 160,
        better: "<=",
        absolute: {
          after_start_mb: megabytes(idle.rssBytes),
          greatest_mb: megabytes(loaded.maxRssBytes),
          datasets: DATASETS,
        },
      },
    ];
    return rows.filter(({ id }) => wanted.has(id));
  },
};
