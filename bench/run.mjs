// `npm run bench`: measures what dist/ holds. docs/performance.md tells how to read the result.
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openBench } from "./bench.mjs";
import { formatRow, HEADER, saveResults } from "./report.mjs";
import { catalog } from "./rows/catalog.mjs";
import { coherence } from "./rows/coherence.mjs";
import { edge } from "./rows/edge.mjs";
import { latency } from "./rows/latency.mjs";
import { listing } from "./rows/listing.mjs";
import { sizes } from "./rows/sizes.mjs";
import { start } from "./rows/start.mjs";
import { throughput } from "./rows/throughput.mjs";
import { verifier } from "./rows/verifier.mjs";

/**
 * @typedef {object} RowGroup Rows that are measured together.
 * @property {readonly string[]} ids
 * @property {(bench: import("./bench.mjs").Bench, wanted: ReadonlySet<string>, effort: import("./compare.mjs").Effort)
 *   => Promise<import("./report.mjs").Row[]>} run
 */

/** @type {readonly RowGroup[]} */
const GROUPS = [throughput, edge, verifier, sizes, latency, catalog, coherence, start, listing];

const LATEST = fileURLToPath(new URL("results/latest.json", import.meta.url));

const { values: flags } = parseArgs({
  options: {
    rows: { type: "string" },
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "2" },
  },
});
const known = GROUPS.flatMap(({ ids }) => ids);
const wanted = new Set(flags.rows?.split(",") ?? known);
const effort = { rounds: Number(flags.rounds), seconds: Number(flags.seconds) };
const unknown = [...wanted].filter((id) => !known.includes(id));
if (unknown.length > 0 || !(effort.rounds >= 1) || !(effort.seconds > 0)) {
  process.stderr.write(
    `usage: npm run bench -- [--rows ID,ID] [--rounds N] [--seconds S]\nrows: ${known.join(", ")}\n`,
  );
  process.exit(2);
}

const bench = await openBench();
for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM"])) {
  process.once(signal, () => bench.stop().finally(() => process.exit(1)));
}
try {
  console.log(HEADER);
  /** @type {import("./report.mjs").Row[]} */
  const rows = [];
  for (const { ids, run } of GROUPS) {
    if (!ids.some((id) => wanted.has(id))) continue;
    for (const row of await run(bench, wanted, effort)) {
      rows.push(row);
      console.log(formatRow(row));
    }
  }
  if (flags.rows === undefined) await saveResults(LATEST, { rows, effort, versions: bench.versions });
} finally {
  await bench.stop();
}
