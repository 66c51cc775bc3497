// The proxies of examples/, each with the very files that users copy: only addresses and paths of the machine are others.
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
 */
async function exampleFile(path, replacements) {
  let text = await readFile(join(ROOT, "examples", path), "utf8");
  for (const [said, here] of Object.entries(replacements)) {
    if (!text.includes(said)) throw new Error(`examples/${path} says nothing of ${said}`);
    text = text.replaceAll(said, here);
  }
  return text;
}

/** @param {string} url */
const addressOf = (url) => new URL(url).host;

/**
 * nginx as Debian configures it, with the files of an example as its sites and modules' scripts.
 * @param {string} site Within examples/.
 * @param {{ replacements: Replacements, files?: Readonly<Record<string, string>> }} options `files`: further ones of its
 *   directory. @returns {Promise<Program>}
 */
async function startNginx(site, { replacements, files = {} }) {
  const directory = await programDirectory();
  const port = await freePort();
  const inside = (/** @type {string} */ name) => join(directory.path, name);
  await writeFile(
    inside("site.conf"),
    await exampleFile(site, { [`listen ${EXAMPLE.site};`]: `listen 127.0.0.1:${port};`, ...replacements }),
  );
  for (const [name, text] of Object.entries(files)) await writeFile(inside(name), text);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  await writeFile(
    inside("nginx.conf"),
    `${process.getuid?.() === 0 ? "user root;" : ""}
daemon off;
worker_processes 2;
pid ${inside("nginx.pid")};
error_log stderr;
load_module ${edgeProgram("njs")};
events {}
http {
  access_log off;
  default_type application/octet-stream;
  ${temporary.map((name) => `${name}_temp_path ${inside(name)};`).join("\n  ")}
  include ${inside("site.conf")};
}
`,
  );
  const args = ["-p", directory.path, "-e", "stderr", "-c", inside("nginx.conf")];
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
