// npm run test:runtimes [-- --install]: tilegate/verify as it is built, on the facts of test/verify/cases.mjs, in every runtime that it
// is for. `--install` puts the runtimes into a cache folder, beside no project's dependencies: they have 350 MB. What is missing is
// skipped loudly, and is a failure under CI.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { findProgram } from "../harness/servers.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "tilegate/runtimes");
const WITHIN_MS = 60_000;

/** The programs themselves: wrappers rely on install scripts. */
const PACKAGES = {
  "@oven/bun-linux-x64-baseline": "1.4.5",
  "@deno/linux-x64-glibc": "2.9.6",
  "@cloudflare/workerd-linux-64": "1.20261117.1",
};

const RUNTIMES = [
  { name: "Node.js", program: process.execPath, run: runScript([]) },
  { name: "Bun", program: packed("@oven/bun-linux-x64-baseline/bin/bun"), run: runScript([]) },
  // Without any permission.
  { name: "Deno", program: packed("@deno/linux-x64-glibc/deno"), run: runScript(["run", "--no-prompt"]) },
  { name: "workerd", program: packed("@cloudflare/workerd-linux-64/bin/workerd"), run: runWorker },
  { name: "Chromium", program: findProgram("chromium"), run: runPage },
];

function packed(path) {
  return join(cache, "node_modules", path);
}

function install() {
  mkdirSync(cache, { recursive: true });
  writeFileSync(join(cache, "package.json"), JSON.stringify({ private: true, dependencies: PACKAGES }));
  const options = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"];
  execFileSync("npm", ["install", ...options], { cwd: cache, stdio: "inherit" });
}

/** What all of them run: the built files as they are, and who asks them. */
function lay(folder) {
  cpSync(join(root, "packages/verify/dist"), join(folder, "verify"), { recursive: true });
  cpSync(join(root, "test/verify/cases.mjs"), join(folder, "cases.js"));
  const files = {
    "package.json": JSON.stringify({ type: "module" }),
    "report.js": `import { CASES, failuresOf } from "./cases.js";
import * as verify from "./verify/index.js";
export const report = async () => ({ cases: CASES.length, failures: await failuresOf(verify) });`,
    "script.js": `import { report } from "./report.js";
console.log(JSON.stringify(await report()));`,
    "worker.js": `import { report } from "./report.js";
export default { fetch: async () => Response.json(await report()) };`,
    "page.html": `<!doctype html><script type="module">
import { report } from "./report.js";
await fetch("/report", { method: "POST", body: JSON.stringify(await report()) });
</script>`,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
}

function runScript(args) {
  return async (program, folder) =>
    JSON.parse(
      execFileSync(program, [...args, join(folder, "script.js")], { timeout: WITHIN_MS, cwd: folder }),
    );
}

async function runWorker(program, folder) {
  const modules = ["worker.js", "report.js", "cases.js"].concat(
    readdirSync(join(folder, "verify"))
      .filter((name) => name.endsWith(".js"))
      .map((name) => `verify/${name}`),
  );
  const embedded = modules.map((name) => `(name = "${name}", esModule = embed "${name}")`);
  writeFileSync(
    join(folder, "config.capnp"),
    `using Workerd = import "/workerd/workerd.capnp";
const worker :Workerd.Worker = (modules = [${embedded.join(", ")}], compatibilityDate = "2026-11-01");
const config :Workerd.Config = (
  services = [(name = "worker", worker = .worker)],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "worker")],
);
`,
  );
  const args = ["serve", "--control-fd=3", "config.capnp"];
  const worker = spawn(program, args, { cwd: folder, stdio: ["ignore", "inherit", "inherit", "pipe"] });
  try {
    const [line] = await within(once(createInterface(worker.stdio[3]), "line"), worker);
    const answer = await fetch(`http://127.0.0.1:${JSON.parse(line).port}/`, {
      signal: AbortSignal.timeout(WITHIN_MS),
    });
    return await answer.json();
  } finally {
    await end(worker, worker.pid);
  }
}

async function runPage(program, folder) {
  let tell;
  const told = new Promise((resolve) => {
    tell = resolve;
  });
  const types = { html: "text/html", js: "text/javascript" };
  const server = createServer(async (request, response) => {
    if (request.method === "POST") {
      tell(JSON.parse(Buffer.concat(await request.toArray())));
      response.end();
      return;
    }
    const body = await readFile(join(folder, request.url)).catch(() => undefined);
    response.writeHead(body ? 200 : 404, {
      "content-type": types[request.url.split(".").at(-1)] ?? "text/plain",
    });
    response.end(body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${server.address().port}/page.html`;
  // Root has no sandbox in Chromium; the page is ours. A group of its own, since it has many processes.
  const args = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    `--user-data-dir=${join(folder, "profile")}`,
    url,
  ];
  const browser = spawn(program, args, { stdio: "ignore", detached: true });
  try {
    return await within(told, browser);
  } finally {
    await end(browser, -browser.pid);
    server.closeAllConnections();
    server.close();
  }
}

/** What is waited for, unless the process ends before, or it takes too long. */
function within(promise, child) {
  const ended = once(child, "exit").then(([code]) => {
    throw new Error(`it ended with ${code}`);
  });
  const late = new Promise((_, reject) => {
    setTimeout(reject, WITHIN_MS, new Error(`nothing within ${WITHIN_MS / 1000} s`)).unref();
  });
  return Promise.race([promise, ended, late]);
}

async function end(child, id) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  process.kill(id, "SIGKILL");
  await ended;
}

if (process.argv.includes("--install")) install();

const folder = mkdtempSync(join(tmpdir(), "tilegate-runtimes-"));
const wrong = [];
try {
  lay(folder);
  for (const { name, program, run } of RUNTIMES) {
    if (program === undefined || !existsSync(program)) {
      console.log(`*** ${name} is not installed: SKIPPED ***`);
      if (process.env.CI === "true") wrong.push(name);
      continue;
    }
    const { cases, failures } = await run(program, folder).catch((error) => ({
      cases: 0,
      failures: [error.message],
    }));
    console.log(
      `${failures.length === 0 ? "ok" : "FAILED"}  ${name}: ${cases - failures.length} of ${cases}`,
    );
    for (const failure of failures) console.log(`    ${failure}`);
    if (cases === 0 || failures.length > 0) wrong.push(name);
  }
} finally {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
}
if (wrong.length > 0) {
  console.error(`\nfailed: ${wrong.join(", ")}`);
  process.exitCode = 1;
}
