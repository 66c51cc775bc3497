import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type TemporaryDirectory, temporaryDirectory } from "../harness/data-directory.js";

const ACCOUNT = "proto/tilegate/v1/account.proto";
const RENAMED = "create_time = 3";

describe("the check of compatibility", () => {
  let repository: TemporaryDirectory;
  const at = (path: string) => join(repository.path, path);
  const git = (...args: string[]) =>
    execFileSync("git", ["-c", "user.name=test", "-c", "user.email=test@example.com", ...args], {
      cwd: repository.path,
      encoding: "utf8",
    }).trim();

  const edit = (from: string, to: string) =>
    writeFileSync(at(ACCOUNT), readFileSync(at(ACCOUNT), "utf8").replace(from, to));

  function commit(message: string): string {
    git("add", "--all");
    git("commit", "--quiet", "--message", message);
    return git("rev-parse", "HEAD");
  }

  function check() {
    const { status, stdout } = spawnSync(process.execPath, ["scripts/breaking.mjs"], {
      cwd: repository.path,
      encoding: "utf8",
    });
    return { status, stdout };
  }

  let before: string;
  let renamed: string;
  beforeAll(async () => {
    repository = await temporaryDirectory();
    for (const path of ["proto", "buf.yaml", "scripts/breaking.mjs"]) {
      cpSync(resolve(path), at(path), { recursive: true });
    }
    mkdirSync(at("node_modules/.cache/tilegate"), { recursive: true });
    for (const path of [".bin", ".cache/tilegate/proto"]) {
      symlinkSync(resolve("node_modules", path), at(join("node_modules", path)));
    }
    writeFileSync(at(".gitignore"), "node_modules\n");
    git("init", "--quiet", "--initial-branch", "main");
    edit(RENAMED, "created = 3");
    before = commit("before");
    edit("created = 3", RENAMED);
    renamed = commit("rename");
  });
  afterAll(() => repository[Symbol.asyncDispose]());

  test("lets the renaming of times pass, on main and on a branch", () => {
    expect(check()).toMatchObject({ status: 0, stdout: expect.stringContaining(renamed.slice(0, 12)) });
    git("checkout", "--quiet", "-b", "branch");
    git("branch", "--force", "main", before);
    expect(check()).toMatchObject({ status: 0, stdout: expect.stringContaining(renamed.slice(0, 12)) });
  });

  test("finds what breaks after it, on a branch that also renames and on one that came later", () => {
    edit("string name = 2", "string title = 2");
    commit("break");
    const found = { status: 1, stdout: expect.stringContaining(`"title"`) };
    expect(check()).toMatchObject(found);
    git("branch", "--force", "main", renamed);
    expect(check()).toMatchObject(found);
  });

  test("finds a renaming that is taken back", () => {
    git("reset", "--quiet", "--hard", renamed);
    edit(RENAMED, "created = 3");
    commit("take back");
    expect(check()).toMatchObject({ status: 1, stdout: expect.stringContaining(`"created"`) });
  });
});
