import { execFile } from "node:child_process";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ROOT, startNode } from "../../harness/node-process.mjs";
import { findProgram } from "../../harness/servers.mjs";
import { FIRST_DATASET_ID } from "../../src/demo/catalog.js";
import { COMMAND_LINE_FLAGS } from "../../src/v8-flags.js";
import { type TemporaryDirectory, temporaryDirectory } from "../harness/data-directory.js";
import { heapLimitOf, TELL_HEAP_LIMIT } from "../harness/heap-limit.js";

// What `npm install tilegate` brings: the built package in an empty folder, with what it depends on and nothing else.

const run = promisify(execFile);

/** An install takes a tenth of it, unless the registry doesn't answer. */
const WITHIN_MS = 100_000;

const UNREACHABLE =
  /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|ETIMEDOUT|ERR_SOCKET_TIMEOUT)\b/;

const { files } = JSON.parse(readFileSync("package.json", "utf8"));

let folder: TemporaryDirectory;
/** What was packed. */
let contents: string[];
let unreachable: string | undefined;

beforeAll(async () => {
  folder = await temporaryDirectory();
  const cwd = folder.path;
  const packing = ["pack", "--json", "--ignore-scripts", "--pack-destination", cwd];
  const [packed] = JSON.parse((await run("npm", packing, { cwd: ROOT })).stdout);
  contents = packed.files.map(({ path }: { path: string }) => path);
  writeFileSync(join(cwd, "package.json"), JSON.stringify({ private: true, type: "module" }));
  const quiet = ["--prefer-offline", "--no-audit", "--no-fund"];
  const impatient = ["--fetch-timeout=20000", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"];
  const install = ["install", "--omit=dev", ...quiet, ...impatient, join(cwd, packed.filename)];
  await run("npm", install, { cwd, timeout: WITHIN_MS }).catch((error) => {
    unreachable = UNREACHABLE.exec(error.stderr)?.[1];
    if (unreachable === undefined || process.env.CI === "true") throw error;
    process.stderr.write(
      `\n*** no package registry (${unreachable}): tests of the package are SKIPPED ***\n\n`,
    );
  });
}, WITHIN_MS + 20_000);

afterAll(() => folder?.[Symbol.asyncDispose]());

test("the package has what it names, its license and its readme, and neither sources nor tests", () => {
  const allowed: string[] = [...files, "LICENSE", "README.md", "package.json"];
  const isAllowed = (path: string) => allowed.some((name) => path === name || path.startsWith(`${name}/`));
  expect(contents.filter((path) => !isAllowed(path))).toEqual([]);
  expect(contents).toEqual(
    expect.arrayContaining([
      "LICENSE",
      "README.md",
      "dist/main.js",
      "dist/gen/proto/index.d.ts",
      "packages/verify/dist/index.d.ts",
      "packages/verify/dist/tile-request.js",
    ]),
  );
});

describe("installed into an empty folder, without development dependencies", () => {
  test("npx tilegate serve greets with a curl that brings a token, and tilegate/proto is a client's half of it", async (context) => {
    context.skip(unreachable !== undefined);
    const npx = findProgram("npx") ?? "";
    await using service = startNode([npx, "--no-install", "tilegate", "serve"], {
      cwd: folder.path,
      env: { PORT: "0", NODE_OPTIONS: TELL_HEAP_LIMIT },
      // npx, a shell, and the service.
      group: true,
    });
    const curl = await service.says(/^curl /);
    const token = { kind: "vector", scope: "ne_countries", sig: expect.stringMatching(/^[0-9a-f]{64}$/) };
    const { stdout } = await run("bash", ["-c", curl]);
    expect(JSON.parse(stdout).tokens[FIRST_DATASET_ID]).toMatchObject(token);

    // The flags of the command's first line count: its process is the second that tells, after npx.
    const { limitBytes } = await service.logged("heap", 2);
    expect(limitBytes).toBe(heapLimitOf(COMMAND_LINE_FLAGS));

    const { url } = await service.logged("serving");
    const client = join(folder.path, "client.mjs");
    writeFileSync(
      client,
      `import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { ErrorInfoSchema, TileTokenService } from "tilegate/proto";
const client = createClient(TileTokenService, createConnectTransport({ baseUrl: "${url}", httpVersion: "1.1" }));
const { tokens } = await client.batchGetTileTokens({ datasetIds: ["${FIRST_DATASET_ID}"] });
console.log(JSON.stringify({ tokens, detail: ErrorInfoSchema.typeName }));`,
    );
    const answer = JSON.parse((await run(process.execPath, [client], { cwd: folder.path })).stdout);
    expect(answer).toMatchObject({
      tokens: { [FIRST_DATASET_ID]: { result: { case: "vector", value: { scope: "ne_countries" } } } },
      detail: "google.rpc.ErrorInfo",
    });
  });

  test("tilegate/verify answers as in every runtime, without anything of the service", async (context) => {
    context.skip(unreachable !== undefined);
    copyFileSync(join(ROOT, "test/verify/cases.mjs"), join(folder.path, "cases.mjs"));
    writeFileSync(
      join(folder.path, "verify.mjs"),
      `import * as verify from "tilegate/verify";
import { failuresOf } from "./cases.mjs";
console.log(JSON.stringify({ failures: await failuresOf(verify), exports: Object.keys(verify) }));`,
    );
    const { stdout } = await run(process.execPath, ["verify.mjs"], { cwd: folder.path });
    expect(JSON.parse(stdout)).toEqual({ failures: [], exports: ["createVerifier", "pollRevocations"] });
  });

  test("its types resolve, and nothing but what it exports", async (context) => {
    context.skip(unreachable !== undefined);
    const consumer = join(folder.path, "consumer.ts");
    writeFileSync(
      consumer,
      `import { type Dataset, DatasetService, ErrorInfoSchema, TileTokenErrorCode } from "tilegate/proto";
import { createVerifier, pollRevocations, type Verdict } from "tilegate/verify";
export const verifier = createVerifier({ keys: ["0123456789abcdef"], revocations: pollRevocations("https://a.example") });
export const scopeOf = (verdict: Verdict): string => (verdict.valid ? verdict.scope : verdict.reason);
// @ts-expect-error
createVerifier({ keys: [{ kty: "OKP", crv: "Ed25519", x: "", d: "" }] });
export const title = ({ title }: Dataset): string => title;
export const names: [string, string] = [DatasetService.typeName, ErrorInfoSchema.typeName];
export const code: TileTokenErrorCode = TileTokenErrorCode.NOT_FOUND;
// @ts-expect-error
import {} from "tilegate/dist/main.js";
// @ts-expect-error
import {} from "tilegate/packages/verify/dist/verifier.js";
`,
    );
    const tsc = join(ROOT, "node_modules/.bin/tsc");
    const options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--target", "es2023"];
    const checking = run(tsc, [...options, consumer], { cwd: folder.path });
    await expect(checking.catch(({ stdout }) => stdout)).resolves.toMatchObject({ stdout: "" });
  });
});
