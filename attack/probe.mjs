// Loaded into the attacked server (node --import): answers over the IPC channel how long its event loop was held up.
import cluster from "node:cluster";
import { monitorEventLoopDelay } from "node:perf_hooks";

const RESOLUTION_MS = 5;
/** In place of "loop" between a primary and its workers. */
const [ASK, ANSWER] = ["attack:loop", "attack:held"];

const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
histogram.enable();

/** @param {(heldMs: number) => void} done Gets the longest time since the last question. */
function takeLongest(done) {
  // What holds the loop up now is counted by the timer that comes after it.
  setTimeout(() => {
    const heldMs = Math.max(0, histogram.max / 1e6 - RESOLUTION_MS);
    histogram.reset();
    done(heldMs);
  }, 4 * RESOLUTION_MS);
}

if (cluster.isPrimary) {
  process.on("message", (message) => {
    if (message !== "loop") return;
    const workers = Object.values(cluster.workers ?? {});
    let awaited = workers.length + 1;
    let longestMs = 0;
    const heard = (/** @type {number} */ heldMs) => {
      longestMs = Math.max(longestMs, heldMs);
      awaited -= 1;
      if (awaited > 0) return;
      cluster.off("message", onAnswer);
      process.send?.({ loop: longestMs });
    };
    const onAnswer = (/** @type {unknown} */ _worker, /** @type {any} */ answer) => {
      if (answer?.type === ANSWER) heard(answer.heldMs);
    };
    cluster.on("message", onAnswer);
    for (const worker of workers) worker?.send({ type: ASK });
    takeLongest(heard);
  });
} else {
  process.on("message", (/** @type {any} */ message) => {
    if (message?.type === ASK) takeLongest((heldMs) => process.send?.({ type: ANSWER, heldMs }));
  });
}
