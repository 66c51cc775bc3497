import { checkBatch } from "../answers.mjs";
import { insertDatasets } from "../bulk.mjs";
import { inTurn, measure, ratioRow, summarize } from "../compare.mjs";
import { batchRequest } from "../requests.mjs";
import { median, spread } from "../statistics.mjs";

const DATASETS = 100_000;
const BATCH = 50;
/** Of the batches: their code is compiled then. */
const WARM_BATCHES = 200;
/** A round ends with its batches. */
const LONGEST_SECONDS = 60;

/**
 * A fresh process that comes to know a large catalog, each dataset cold once, beside a server by hand that asks for the same
 * ones and keeps nothing; and its memory after that.
 */
/** @type {import("../run.mjs").RowGroup} */
export const catalog = {
  ids: ["cold_postgres", "cold_vs_handwritten", "rss_mb"],
  async run(bench, wanted, { rounds, seconds }) {
    const datasets = await insertDatasets(bench, "catalog_", DATASETS);
    const tilegate = await bench.startTilegate();
    const idle = await tilegate.process.usage();
    const batches = Array.from({ length: DATASETS / BATCH }, (_, index) =>
      datasets.slice(index * BATCH, (index + 1) * BATCH),
    );
    const contestants = [{ name: "tilegate", server: tilegate, all: /** @type {Measured} */ ([]) }];
    if (wanted.has("cold_vs_handwritten")) {
      contestants.push({ name: "handwritten", server: await bench.server("handwritten-cold"), all: [] });
    }
    const ask = (
      /** @type {(typeof contestants)[number]} */ { name, server },
      /** @type {typeof batches} */ asked,
    ) =>
      measure(
        bench,
        {
          name,
          server,
          requests: asked.map((batch) =>
            batchRequest(
              "json",
              batch.map(({ id }) => id),
              {},
            ),
          ),
          check: (sample, period, index) => checkBatch("json", asked[index] ?? [])(sample, period),
        },
        { seconds: LONGEST_SECONDS, maxCalls: asked.length },
      );
    for (const contestant of contestants) await ask(contestant, batches.slice(0, WARM_BATCHES));
    const perRound = Math.floor((batches.length - WARM_BATCHES) / rounds);
    for (let index = 0; index < rounds; index++) {
      const begin = WARM_BATCHES + index * perRound;
      for (const contestant of inTurn(contestants, index)) {
        contestant.all.push(await ask(contestant, batches.slice(begin, begin + perRound)));
      }
    }

    // What it serves most is warm, over every protocol.
    const { apiKey } = bench.fixture;
    const warmIds = bench.fixture.datasets.map(({ id }) => id);
    for (const protocol of /** @type {const} */ (["json", "grpc", "binary"])) {
      const requests = [batchRequest(protocol, warmIds, { "x-api-key": apiKey })];
      await bench.load({ port: tilegate.port, requests, seconds });
    }
    const loaded = await tilegate.process.usage();
    await tilegate.process.stop();

    const [own = [], byHand = []] = contestants.map(({ all }) => all);
    const rates = own.map(({ callsPerSecond }) => callsPerSecond);
    const megabytes = (/** @type {number} */ bytes) => Math.round(bytes / 1e6);
    /** @type {import("../report.mjs").Row[]} */
    const rows = [
      {
        id: "cold_postgres",
        value: Math.round(median(rates)),
        unit: "/s",
        spread: spread(rates).map(Math.round),
        absolute: { tilegate: summarize(own), datasets_per_call: BATCH },
      },
      ratioRow({ id: "cold_vs_handwritten", target: 0.5 }, ["tilegate", own], ["handwritten", byHand]),
      {
        id: "rss_mb",
        value: megabytes(loaded.rssBytes),
        unit: "MB",
        target: 280,
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

/** @typedef {import("../compare.mjs").Measurement[]} Measured */
