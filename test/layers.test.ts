import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const src = fileURLToPath(new URL("../src", import.meta.url));
const packages = fileURLToPath(new URL("../packages", import.meta.url));

/** What each folder may import of the others. Only compose/ and the command line put them together. */
const ALLOWED: Record<string, string[]> = {
  domain: ["domain"],
  json: ["json"],
  front: ["front", "domain", "server"],
  rpc: ["rpc", "domain", "front", "schema", "server", "gen/proto"],
  rest: ["rest", "domain", "front", "json", "schema", "server", "gen/proto"],
  stores: ["stores", "domain", "gen/prisma"],
  jwt: ["jwt", "domain", "json"],
  schema: ["schema", "domain", "json", "gen/proto"],
  server: ["server", "gen/proto"],
  config: [
    "config",
    "domain",
    "jwt",
    "stores/prisma/embedded.js",
    "stores/prisma/postgres.js",
    "stores/redis/url.js",
  ],
  compose: [
    "compose",
    "config",
    "domain",
    "front",
    "jwt",
    "rest",
    "rpc",
    "schema",
    "server",
    "stores",
    "gen/proto",
  ],
  demo: ["demo", "compose", "config", "domain"],
  cli: [
    "cli",
    "compose",
    "config",
    "demo",
    "domain",
    "json",
    "rpc",
    "schema",
    "server",
    "stores",
    "gen/proto",
    "v8-flags.js",
  ],
};

interface Import {
  readonly file: string;
  readonly from: string;
}

function importsOf(folder: string, root = src): Import[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .flatMap((name) => {
      const file = join(folder, name);
      const text = readFileSync(join(root, file), "utf8");
      return [...text.matchAll(/(?:^import|\bfrom|\bimport\()\s*"([^"]+)"/gm)].map(([, from = ""]) => ({
        file,
        from,
      }));
    });
}

const within = (path: string, folder: string) => path === folder || path.startsWith(`${folder}/`);

test.each(Object.entries(ALLOWED))("%s/ imports only the folders that it may know", (folder, allowed) => {
  const imports = importsOf(folder);
  const strangers = imports
    .filter(({ from }) => from.startsWith("."))
    .map(({ file, from }) => ({ file, target: relative(src, join(src, dirname(file), from)) }))
    .filter(({ target }) => !allowed.some((known) => within(target, known)));
  expect(strangers).toEqual([]);
  // Or nothing was read.
  expect(imports.length > 0 || allowed.length === 1).toBe(true);
});

test("every folder is told of", () => {
  const folders = readdirSync(src, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect(folders.map(({ name }) => name).filter((name) => name !== "gen")).toEqual(
    Object.keys(ALLOWED).toSorted(),
  );
});

/** The domain's folders: each may know those before it. */
const DOMAIN = [
  "identity",
  "accounts",
  "datasets",
  "access",
  "api-keys",
  "tile-tokens",
  "authentication",
  "tile-requests",
];

test("no arrow between the domain's folders runs back up", () => {
  const folders = readdirSync(join(src, "domain"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
  expect(folders.toSorted()).toEqual(DOMAIN.toSorted());
  const back = DOMAIN.flatMap((folder, floor) =>
    importsOf(`domain/${folder}`).filter(({ from }) => {
      const [, other] = /^\.\.\/([\w-]+)\//.exec(from) ?? [];
      return other !== undefined && DOMAIN.indexOf(other) >= floor;
    }),
  );
  expect(back).toEqual([]);
});

test("what starts the process leaves the rest to the command line", () => {
  const files = readdirSync(src).filter((name) => name.endsWith(".ts"));
  expect(files).toEqual(["main.ts", "v8-flags.ts"]);
});

test("json/ imports nothing", () => {
  expect(importsOf("json")).toEqual([]);
});

test("domain/ computes, and does no I/O: of packages it imports only these", () => {
  const imports = importsOf("domain").filter(({ from }) => !from.startsWith("."));
  const strangers = imports.filter(
    ({ from }) => !/^(node:(crypto|zlib|net|util)|#tile-paths|#tile-request)$/.test(from),
  );
  expect(strangers).toEqual([]);
});

/** Who may know of the modules that src/ shares with packages/. */
const SHARED: Record<string, string[]> = {
  "#tile-paths": ["domain", "config"],
  "#tile-request": ["domain"],
};

test("what packages/ shares with src/ are these modules, for these folders", () => {
  const { imports } = JSON.parse(readFileSync(join(packages, "../package.json"), "utf8"));
  expect(Object.keys(imports)).toEqual(Object.keys(SHARED));
  const strangers = Object.keys(ALLOWED)
    .flatMap((folder) => importsOf(folder).map((found) => ({ folder, ...found })))
    .filter(({ from }) => from.startsWith("#") || /^@?tilegate\b|\bpackages\//.test(from))
    .filter(({ folder, from }) => !SHARED[from]?.includes(folder));
  expect(strangers).toEqual([]);
});

test("packages/verify imports nothing but its own files, so that any runtime has all that it needs", () => {
  const imports = importsOf("verify/src", packages);
  expect(imports.filter(({ from }) => !/^\.\/[\w-]+\.js$/.test(from))).toEqual([]);
  expect(imports.length).toBeGreaterThan(0);
});
