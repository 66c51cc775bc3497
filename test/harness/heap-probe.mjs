// Loaded into the command by a test: tells how large V8 lets its heap become, which the sizes of all spaces are part of.
import cluster from "node:cluster";
import { getHeapStatistics } from "node:v8";

const { heap_size_limit: limitBytes } = getHeapStatistics();
process.stderr.write(`${JSON.stringify({ msg: "heap", limitBytes, worker: cluster.worker?.id })}\n`);
