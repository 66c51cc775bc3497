import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { expect, onTestFinished, test, vi } from "vitest";
import { startNode } from "../../harness/node-process.mjs";
import { freePort } from "../../harness/ports.mjs";
import { createSigningKeyRing } from "../../src/domain/tile-tokens/key-ring.js";
import { eventually } from "../harness/eventually.js";

// The examples of docs/verify.md, as they stand there.

const SECRETS = ["the-new-secret-000", "the-old-secret-000"];
const page = readFileSync("docs/verify.md", "utf8");
const blocks = [...page.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code = ""]) => code);

function exampleWith(text: string): string {
  const found = blocks.filter((code) => code.includes(text));
  expect(found, text).toHaveLength(1);
  return found[0] ?? "";
}

/** Runs it here, where the package is where it is built. */
const importExample = (code: string) =>
  import(
    `data:text/javascript,${encodeURIComponent(code.replace(/"(npm:)?@tilegate\/verify"/, JSON.stringify(pathToFileURL("packages/verify/dist/index.js"))))}`
  );

const [, oldSecret = ""] = SECRETS;
const exp = Math.floor(Date.now() / 1000) + 600;
const ring = createSigningKeyRing("hmac", { hmac: [oldSecret], ed25519: [] });
const PATH = "/tiles/data.roads/1/2/3.pbf";
const GOOD = `${PATH}?sig=${ring.sign("roads", exp)}&exp=${exp}&scope=roads`;

const ASKED: [string, number][] = [
  [GOOD, 200],
  [GOOD.replace("data.roads", "data.rivers"), 403],
  [PATH, 401],
];

test("Node.js", async () => {
  const port = await freePort();
  const code = exampleWith("node:http");
  const env = { PORT: String(port), TILE_SIGNING_KEYS: SECRETS.join() };
  await using _server = startNode(["--input-type=module", "--eval", code], { env });
  const ask = (target: string) => fetch(`http://127.0.0.1:${port}${target}`);
  await eventually(() =>
    ask("/").then(
      () => true,
      () => false,
    ),
  );
  for (const [target, status] of ASKED) expect((await ask(target)).status).toBe(status);
  expect(await (await ask(GOOD)).text()).toBe("the tile of roads");
});

test("Deno", async () => {
  let handler: ((request: Request) => Promise<Response>) | undefined;
  const serve = (given: typeof handler) => {
    handler = given;
  };
  vi.stubGlobal("Deno", { env: { get: () => SECRETS.join() }, serve });
  onTestFinished(() => {
    vi.unstubAllGlobals();
  });
  await importExample(exampleWith("Deno.serve"));
  for (const [target, status] of ASKED) {
    expect((await handler?.(new Request(`https://a.example${target}`)))?.status).toBe(status);
  }
});

test("Cloudflare Workers", async () => {
  const { default: worker } = await importExample(exampleWith("export default"));
  const env = { TILE_SIGNING_KEYS: SECRETS.join() };
  for (const [target, status] of ASKED) {
    expect((await worker.fetch(new Request(`https://a.example${target}`), env)).status).toBe(status);
  }
});

test("every reason is told of, in the order in which they are looked for", () => {
  const [, table = ""] = /\| `reason` \|.*\n\|---\|---\|\n((?:\|.*\n)+)/.exec(page) ?? [];
  const told = [...table.matchAll(/^\| `(\w+)`/gm)].map(([, reason]) => reason);
  const source = readFileSync("packages/verify/src/verifier.ts", "utf8");
  expect(told).toEqual([...source.matchAll(/return refused\("(\w+)"\)/g)].map(([, reason]) => reason));
});
