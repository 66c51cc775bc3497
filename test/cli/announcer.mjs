// Loaded into workers by a test: SIGUSR2 has one announce something, and each logs what it hears.
import cluster from "node:cluster";
import { ANNOUNCEMENT as type } from "../../dist/cli/sibling-channel.js";

if (cluster.isWorker) {
  process.on("SIGUSR2", () => process.send({ type, from: cluster.worker.id, of: ["any", { shape: 1 }] }));
  process.on("message", (message) => {
    if (message.type === type)
      process.stderr.write(`${JSON.stringify({ ...message, msg: "heard", by: cluster.worker.id })}\n`);
  });
}
