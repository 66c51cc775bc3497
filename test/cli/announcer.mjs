// Loaded into workers by a test: SIGUSR2 has one announce something, and each logs what it hears.
import cluster from "node:cluster";
import { ANNOUNCEMENT as type } from "../../dist/cli/sibling-channel.js";

const { worker } = cluster;
if (worker) {
  process.on("SIGUSR2", () => worker.send({ type, from: worker.id, of: ["any", { shape: 1 }] }));
  worker.on("message", (message) => {
    if (message.type === type)
      process.stderr.write(`${JSON.stringify({ ...message, msg: "heard", by: worker.id })}\n`);
  });
}
