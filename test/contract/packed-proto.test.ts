import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type TemporaryDirectory, temporaryDirectory } from "../harness/data-directory.js";

// Of what was built last: `npm run build`.

const INCLUDES = ["proto", "dist/proto"];

describe("the .proto files of the npm package", () => {
  let unpacked: TemporaryDirectory;
  let files: string[];
  beforeAll(async () => {
    unpacked = await temporaryDirectory();
    const listed = execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
      encoding: "utf8",
    });
    const [{ files: packed }] = JSON.parse(listed) as [{ files: { path: string }[] }];
    files = packed.map(({ path }) => path).filter((path) => path.endsWith(".proto"));
    for (const path of files) cpSync(path, join(unpacked.path, path));
  });
  afterAll(() => unpacked[Symbol.asyncDispose]());

  test("stand under the two include paths that docs/clients.md names", () => {
    expect(files).toContain("proto/tilegate/v1/tile_token_service.proto");
    expect(files).toContain("dist/proto/buf/validate/validate.proto");
    expect(files.filter((path) => !INCLUDES.some((include) => path.startsWith(`${include}/`)))).toEqual([]);
    const commands = readFileSync("docs/clients.md", "utf8").match(/(?<=protoc )-I \S+ -I \S+/g);
    expect(new Set(commands)).toEqual(new Set([INCLUDES.map((path) => `-I package/${path}`).join(" ")]));
  });

  test("compile with nothing else", () => {
    const modules = INCLUDES.map((path) => ({ path }));
    writeFileSync(join(unpacked.path, "buf.yaml"), JSON.stringify({ version: "v2", modules }));
    const built = spawnSync(resolve("node_modules/.bin/buf"), ["build", "-o", "image.binpb"], {
      cwd: unpacked.path,
      encoding: "utf8",
    });
    expect(built).toMatchObject({ status: 0, stderr: "" });
  });

  const hasProtoc = spawnSync("protoc", ["--version"]).status === 0;
  test.skipIf(!hasProtoc)("compile with protoc", () => {
    const includes = INCLUDES.flatMap((path) => ["-I", path]);
    const compiled = spawnSync("protoc", [...includes, "--descriptor_set_out=set.binpb", ...files], {
      cwd: unpacked.path,
      encoding: "utf8",
    });
    expect(compiled).toMatchObject({ status: 0, stderr: "" });
  });
});
