import { fileURLToPath } from "node:url";
import { OTHER_CORE } from "../../harness/cores.mjs";
import { startNode } from "../../harness/node-process.mjs";

/**
 * Starts a load generator, on the core that the measured servers don't have.
 * @returns {Promise<{ load(job: import("./main.mjs").Job): Promise<import("./main.mjs").Outcome>,
 *   stop(): Promise<void> }>} `load`: one job at a time.
 */
export async function startGenerator() {
  const started = startNode([fileURLToPath(new URL("main.mjs", import.meta.url))], {
    core: OTHER_CORE,
    channel: true,
  });
  // A message that comes earlier would be lost.
  await started.hear("ready");
  return {
    load(job) {
      const outcome = started.hear("outcome");
      started.tell(job);
      return outcome;
    },
    stop: started.stop,
  };
}
