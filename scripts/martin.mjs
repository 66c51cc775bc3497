// npm run test:martin: compiles Martin, once, and runs examples/martin with it. Needs Rust, and minutes.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { CACHE, findMartin, MARTIN_VERSION } from "../harness/edge/programs.mjs";

/** Of its sources PMTiles alone, and not optimised: that is what the test needs, and half of the time. */
const BUILD = ["--locked", "--no-default-features", "--features", "pmtiles", "--profile", "dev"];

if (findMartin() === undefined) {
  const root = join(CACHE, "martin");
  // A build that was cut off is gone on with.
  const env = { ...process.env, CARGO_TARGET_DIR: join(CACHE, "martin-build"), CARGO_PROFILE_DEV_DEBUG: "0" };
  run("cargo", ["install", "martin", "--version", MARTIN_VERSION, "--root", root, ...BUILD], env);
}
run("npx", ["vitest", "run", "--config", "test/edge/vitest.config.ts", "test/edge/martin.test.ts"]);

/**
 * Ends this process if the command fails.
 * @param {string} command @param {readonly string[]} parameters @param {NodeJS.ProcessEnv} [env]
 */
function run(command, parameters, env) {
  const { status, error } = spawnSync(command, parameters, { stdio: "inherit", env });
  if (status === 0) return;
  console.error(`test:martin: ${command} failed${error ? `: ${error.message}` : ""}`);
  process.exit(status || 1);
}
