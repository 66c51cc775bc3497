// npm run test:edge [-- --install] [arguments of vitest]: examples/ on the real proxies and tile servers.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  CACHE,
  DEBIAN_PACKAGES,
  EDGE_PROGRAMS,
  missingPrograms,
  NODE_MODULES,
  NPM_PACKAGES,
  PYTHON,
  WHEELS,
} from "../harness/edge/programs.mjs";

const args = process.argv.slice(2);
const rest = args.filter((arg) => arg !== "--install");
if (rest.length < args.length) install();

const missing = missingPrograms(EDGE_PROGRAMS);
if (missing.length > 0) {
  const message = `not installed: ${missing.join(", ")}`;
  if (process.env.CI === "true") {
    console.error(`test:edge: ${message}`);
    process.exit(1);
  }
  console.error(`\n*** ${message}: the tests that need it are SKIPPED. --install installs it. ***\n`);
}
run("npx", ["vitest", "run", "--config", "test/edge/vitest.config.ts", ...rest]);

/** Whatever isn't there yet. Only Debian's packages need root. */
function install() {
  mkdirSync(CACHE, { recursive: true });

  const wheels = Object.entries(WHEELS).map(([name, version]) => `${name}==${version}`);
  once("python", wheels, () => {
    rmSync(PYTHON, { recursive: true, force: true });
    run("python3", ["-m", "venv", PYTHON]);
    run(join(PYTHON, "bin/pip"), ["install", "--quiet", ...wheels]);
  });

  const packages = Object.entries(NPM_PACKAGES).map(([name, version]) => `${name}@${version}`);
  once("npm", packages, () => {
    const home = join(NODE_MODULES, "..");
    rmSync(home, { recursive: true, force: true });
    mkdirSync(home);
    writeFileSync(join(home, "package.json"), '{ "private": true }\n');
    // Where there is no binary of sqlite3 to download it is compiled, which takes 40 s in place of 170 without optimisation.
    const env = { ...process.env, CFLAGS: "-O0", CXXFLAGS: "-O0" };
    run("npm", ["install", "--no-save", "--no-audit", "--no-fund", ...packages], { cwd: home, env });
  });

  if (missingPrograms(["nginx", "njs", "haproxy", "caddy-2.6"]).length === 0) return;
  if (process.getuid?.() !== 0 || spawnSync("apt-get", ["--version"]).status !== 0) {
    console.error(`test:edge: as root on Debian 12 this would install ${DEBIAN_PACKAGES.join(", ")}`);
    return;
  }
  withoutStarting(() => {
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    run("apt-get", ["update", "--quiet=2"]);
    run("apt-get", ["install", "--quiet=2", "--yes", "--no-install-recommends", ...DEBIAN_PACKAGES], { env });
  });
}

/**
 * Does `work` unless it was done to its end before, for the same versions.
 * @param {string} name @param {readonly string[]} versions @param {() => void} work
 */
function once(name, versions, work) {
  const file = join(CACHE, `${name}.installed`);
  const done = versions.join("\n");
  if (existsSync(file) && readFileSync(file, "utf8") === done) return;
  work();
  writeFileSync(file, done);
}

/**
 * Debian starts the services that it installs, unless this file says no.
 * @param {() => void} work
 */
function withoutStarting(work) {
  const policy = "/usr/sbin/policy-rc.d";
  if (existsSync(policy)) return work();
  writeFileSync(policy, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  process.once("exit", () => rmSync(policy, { force: true }));
  work();
}

/**
 * Ends this process if the command fails.
 * @param {string} command @param {readonly string[]} parameters
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} [options]
 */
function run(command, parameters, options = {}) {
  const { status, error } = spawnSync(command, parameters, { stdio: "inherit", ...options });
  if (status === 0) return;
  console.error(`test:edge: ${command} failed${error ? `: ${error.message}` : ""}`);
  process.exit(status || 1);
}
