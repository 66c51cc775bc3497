// The proxies of examples/, each with the very files that users copy: only addresses and paths of the machine are others.
import { execFileSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ROOT } from "../node-process.mjs";
import { freePort } from "../ports.mjs";
import { programDirectory, startProgram } from "./program.mjs";
import { edgeProgram } from "./programs.mjs";

/** @typedef {import("./program.mjs").Program} Program */
/** @typedef {Readonly<Record<string, string>>} Replacements What a file says, and what this machine has in its place. */

/** What all examples say: where the site is, the service and the tile server. */
const EXAMPLE = { site: "8000", tilegate: "127.0.0.1:8080", tiles: "127.0.0.1:3000" };

/**
 * A file of examples/ for this machine.
 * @param {string} path Within examples/. @param {Replacements} replacements Each must be there, so that no example goes untested.
 * @param {string} [script] Of sed, within examples/: what an example tells to change in another one's file.
 */
async function exampleFile(path, replacements, script) {
  const file = join(ROOT, "examples", path);
  let text =
    script === undefined
      ? await readFile(file, "utf8")
      : execFileSync("sed", ["-f", join(ROOT, "examples", script), file], { encoding: "utf8" });
  for (const [said, here] of Object.entries(replacements)) {
    if (!text.includes(said)) throw new Error(`examples/${path} says nothing of ${said}`);
    text = text.replaceAll(said, here);
  }
  return text;
}

/** @param {string} url */
const addressOf = (url) => new URL(url).host;

/**
 * nginx' own configuration, about as Debian has it, but that all is in a directory.
 * @param {string} directory @param {{ sites: string, module?: "njs" | undefined }} options `sites`: what it includes, within the
 *   directory. @returns {Promise<string[]>} The arguments that start nginx with it, in the foreground.
 */
export async function configureNginx(directory, { sites, module }) {
  const inside = (/** @type {string} */ name) => join(directory, name);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  await writeFile(
    inside("nginx.conf"),
    `${process.getuid?.() === 0 ? "user root;" : ""}
daemon off;
worker_processes 2;
pid ${inside("nginx.pid")};
error_log stderr;
${module === undefined ? "" : `load_module ${edgeProgram(module)};`}
events {}
http {
  access_log off;
  default_type application/octet-stream;
  ${temporary.map((name) => `${name}_temp_path ${inside(name)};`).join("\n  ")}
  include ${inside(sites)};
}
`,
  );
  return ["-p", directory, "-e", "stderr", "-c", inside("nginx.conf")];
}

/**
 * nginx with a file of an example as its site.
 * @param {string} site Within examples/.
 * @param {{ replacements: Replacements, module?: "njs", script?: string | undefined }} options @returns {Promise<Program>}
 */
async function startNginx(site, { replacements, module, script }) {
  const directory = await programDirectory();
  const port = await freePort();
  const listening = { [`listen ${EXAMPLE.site};`]: `listen 127.0.0.1:${port};` };
  await writeFile(
    join(directory.path, "site.conf"),
    await exampleFile(site, { ...listening, ...replacements }, script),
  );
  const args = await configureNginx(directory.path, { sites: "site.conf", module });
  return startProgram(edgeProgram("nginx"), args, { port, directory });
}

/**
 * examples/nginx-njs: nginx that verifies tokens by itself.
 * @param {{ tiles: string, signingKeys: readonly string[] }} options `tiles`: the tile server's URL. `signingKeys`: the first
 *   signs, all verify. @returns {Promise<Program>}
 */
export async function startNginxNjs({ tiles, signingKeys }) {
  const directory = await programDirectory();
  const keys = join(directory.path, "tile-signing-keys");
  const script = join(directory.path, "tile-token.js");
  await writeFile(keys, `${signingKeys.join(",")}\n`);
  await writeFile(
    script,
    await exampleFile("nginx-njs/tile-token.js", { "/etc/nginx/tile-signing-keys": keys }),
  );
  const nginx = await startNginx("nginx-njs/tiles.conf", {
    replacements: { [EXAMPLE.tiles]: addressOf(tiles), "/etc/nginx/tile-token.js": script },
    module: "njs",
  });
  return withDirectory(nginx, directory);
}

/**
 * examples/haproxy: HAProxy that verifies tokens by itself.
 * @param {{ tiles: string, signingKeys: readonly string[] }} options As for nginx, but no more than two keys.
 * @returns {Promise<Program>}
 */
export async function startHaproxy({ tiles, signingKeys: [key = "", previous = key] }) {
  const directory = await programDirectory();
  const port = await freePort();
  const file = join(directory.path, "haproxy.cfg");
  await writeFile(
    file,
    await exampleFile("haproxy/haproxy.cfg", {
      [`bind :${EXAMPLE.site}`]: `bind 127.0.0.1:${port}`,
      [EXAMPLE.tiles]: addressOf(tiles),
    }),
  );
  const env = {
    TILE_SIGNING_KEY_BASE64: Buffer.from(key).toString("base64"),
    TILE_PREVIOUS_SIGNING_KEY_BASE64: Buffer.from(previous).toString("base64"),
  };
  return startProgram(edgeProgram("haproxy"), ["-db", "-f", file], { port, directory, env });
}

/**
 * @typedef {object} Behind Where what a proxy stands before is.
 * @property {string} tiles URL. @property {string} tilegate URL.
 */

/**
 * examples/nginx. @param {Behind} behind @param {string} [script] What another example changes.
 * @param {Replacements} [moreReplacements] Of what that says. @returns {Promise<Program>}
 */
export async function startNginxForwardAuth({ tiles, tilegate }, script, moreReplacements = {}) {
  const directory = await programDirectory();
  const nginx = await startNginx("nginx/tiles.conf", {
    replacements: {
      [EXAMPLE.tiles]: addressOf(tiles),
      [EXAMPLE.tilegate]: addressOf(tilegate),
      "/var/lib/nginx/tilegate": join(directory.path, "verdicts"),
      ...moreReplacements,
    },
    script,
  });
  return withDirectory(nginx, directory);
}

/**
 * examples/caddy. @param {Behind} behind @param {"caddy-2.6" | "caddy-2.11"} version @returns {Promise<Program>}
 */
export async function startCaddy({ tiles, tilegate }, version) {
  const directory = await programDirectory();
  const port = await freePort();
  const file = join(directory.path, "Caddyfile");
  const text = await exampleFile("caddy/Caddyfile", {
    [`:${EXAMPLE.site} {`]: `http://127.0.0.1:${port} {`,
    [EXAMPLE.tiles]: addressOf(tiles),
    [EXAMPLE.tilegate]: addressOf(tilegate),
  });
  // Else it would manage itself by a port that is always the same.
  await writeFile(file, `{\n\tadmin off\n}\n${text}`);
  const args = ["run", "--adapter", "caddyfile", "--config", file];
  return startProgram(edgeProgram(version), args, { port, directory });
}

/**
 * examples/traefik. @param {Behind} behind @returns {Promise<Program>}
 */
export async function startTraefik({ tiles, tilegate }) {
  const directory = await programDirectory();
  const port = await freePort();
  const [main, dynamic] = [join(directory.path, "traefik.yml"), join(directory.path, "tiles.yml")];
  await writeFile(
    main,
    await exampleFile("traefik/traefik.yml", {
      [`":${EXAMPLE.site}"`]: `"127.0.0.1:${port}"`,
      "/etc/traefik/tiles.yml": dynamic,
    }),
  );
  await writeFile(
    dynamic,
    await exampleFile("traefik/tiles.yml", {
      [EXAMPLE.tiles]: addressOf(tiles),
      [EXAMPLE.tilegate]: addressOf(tilegate),
    }),
  );
  // It takes connections before it has read its routes, and answers 404 to all.
  const isReady = () =>
    fetch(`http://127.0.0.1:${port}/data/`).then(
      ({ status }) => status !== 404,
      () => false,
    );
  return startProgram(edgeProgram("traefik"), [`--configFile=${main}`], { port, directory, isReady });
}

/**
 * examples/envoy. @param {Behind} behind @returns {Promise<Program>}
 */
export async function startEnvoy({ tiles, tilegate }) {
  const directory = await programDirectory();
  const port = await freePort();
  const file = join(directory.path, "envoy.yaml");
  const socket = (/** @type {string} */ host, /** @type {string | number} */ at) =>
    `{ address: ${host}, port_value: ${at} }`;
  const moved = (/** @type {string} */ said, /** @type {string} */ url) => {
    const { hostname, port } = new URL(url);
    return [socket("127.0.0.1", new URL(`http://${said}`).port), socket(hostname, port)];
  };
  const replacements = Object.fromEntries([
    [socket("0.0.0.0", EXAMPLE.site), socket("127.0.0.1", port)],
    moved(EXAMPLE.tilegate, tilegate),
    moved(EXAMPLE.tiles, tiles),
  ]);
  await writeFile(file, await exampleFile("envoy/envoy.yaml", replacements));
  // One that could be restarted hot shares memory with others of its number.
  const args = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "-c", file];
  return startProgram(edgeProgram("envoy"), args, { port, directory });
}

/**
 * A program that needs another directory besides its own until it ends.
 * @param {Program} program @param {AsyncDisposable} directory @returns {Program}
 */
function withDirectory(program, directory) {
  return {
    url: program.url,
    port: program.port,
    get output() {
      return program.output;
    },
    stop: () => program.stop(),
    [Symbol.asyncDispose]: async () => {
      await program[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}
