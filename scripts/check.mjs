// What CI runs, in order of cost. Stops at the first failure.
import { spawnSync } from "node:child_process";

const steps = [
  ["format and lint", "npx biome ci ."],
  ["build", "npm run --silent build"],
  ["types", "npx tsc -p tsconfig.json"],
  ["Protobuf format", "npx buf format --diff --exit-code proto"],
  ["Protobuf lint", "npx buf lint"],
  ["Protobuf compatibility", "node scripts/breaking.mjs"],
  ["tests", "npm test"],
];

for (const [name, command] of steps) {
  console.log(`\n== ${name}: ${command}`);
  const { status } = spawnSync(command, { shell: true, stdio: "inherit" });
  if (status !== 0) {
    console.error(`\n== failed: ${name}`);
    process.exit(1);
  }
}
console.log("\n== all checks passed");
