import { round } from "../compare.mjs";
import { median, spread } from "../statistics.mjs";

const STARTS = 5;

/** @type {import("../run.mjs").RowGroup} */
export const start = {
  ids: ["start_s"],
  async run(bench) {
    const seconds = [];
    const cpuSeconds = [];
    for (let index = 0; index < STARTS; index++) {
      const began = performance.now();
      const { process } = await bench.startTilegate();
      seconds.push((performance.now() - began) / 1000);
      cpuSeconds.push((await process.usage()).cpuSeconds);
      await process.stop();
    }
    return [
      {
        id: "start_s",
        value: round(median(seconds), 2),
        unit: "s",
        target: 1,
        better: "<=",
        spread: spread(seconds).map((each) => round(each, 2)),
        absolute: { cpu_s: round(median(cpuSeconds), 2), starts: STARTS },
      },
    ];
  },
};
