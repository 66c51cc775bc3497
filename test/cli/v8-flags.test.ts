import { spawnSync } from "node:child_process";
import { chmodSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type LogLine, startNode } from "../../harness/node-process.mjs";
import { MAIN, spawnTilegate, tilegateArgs } from "../../harness/tilegate.mjs";
import { COMMAND_LINE_FLAGS } from "../../src/v8-flags.js";
import { temporaryDirectory } from "../harness/data-directory.js";
import { heapLimitOf, TELL_HEAP_LIMIT } from "../harness/heap-limit.js";
import { createInstallation } from "../harness/installation.js";
import { postgresUrl } from "../harness/postgres.js";

const { scripts } = JSON.parse(readFileSync("package.json", "utf8"));
const [firstLine = ""] = readFileSync("src/main.ts", "utf8").split("\n", 1);

/** A setting which ours have to leave in effect, and one that they replace: what V8 does by itself is the same on some versions. */
const GIVEN = ["--max-old-space-size=100", "--max-semi-space-size=4"];
const env = { NODE_OPTIONS: [TELL_HEAP_LIMIT, ...GIVEN].join(" ") };

const EXPECTED = heapLimitOf([...GIVEN, ...COMMAND_LINE_FLAGS]);

/** What a command line that a shell runs tells of its heap. */
function heapOf(command: string): unknown {
  const { stderr } = spawnSync("/bin/sh", ["-c", command], {
    env: { PATH: process.env.PATH, ...env },
    encoding: "utf8",
  });
  return JSON.parse(stderr).limitBytes;
}

test("this version of Node.js knows every flag of V8 that the service sets", () => {
  // V8 says so on standard error when it doesn't, and goes on.
  const script = `(await import("./dist/v8-flags.js")).setRunTimeFlags()`;
  const args = [...COMMAND_LINE_FLAGS, "--input-type=module", "-e", script];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
});

test("whatever starts the command says the flags that count only there", () => {
  const flags = COMMAND_LINE_FLAGS.join(" ");
  expect(firstLine).toBe(`#!/usr/bin/env -S node ${flags}`);
  expect(scripts.start).toBe(`node ${flags} dist/main.js serve`);
  expect(tilegateArgs([])).toEqual([...COMMAND_LINE_FLAGS, MAIN]);
});

test("they make a difference, and are in effect when npm starts the service, and when a shell runs the command", async () => {
  expect(heapLimitOf(GIVEN)).not.toBe(EXPECTED);
  expect(heapOf(scripts.start.replace(/serve$/, "--version"))).toBe(EXPECTED);
  // What npm makes of a package's command.
  await using directory = await temporaryDirectory();
  const command = join(directory.path, "tilegate");
  symlinkSync(MAIN, command);
  chmodSync(MAIN, 0o755);
  expect(heapOf(`${command} --version`)).toBe(EXPECTED);
});

test.skipIf(!postgresUrl())(
  "they are in effect in workers, unless the primary was given others",
  async () => {
    await using installation = await createInstallation();
    const workers = { ...installation.env, ...env, WORKERS: "2", PORT: "0" };
    const ofWorker = ({ msg, worker }: LogLine) => msg === "heap" && worker !== undefined;
    const own = [...COMMAND_LINE_FLAGS, "--max-semi-space-size=32"];
    for (const [start, expected] of [
      [() => spawnTilegate([], workers), EXPECTED],
      [() => startNode([MAIN], { env: workers }), EXPECTED],
      [() => startNode([...own, MAIN], { env: workers }), heapLimitOf([...GIVEN, ...own])],
    ] as const) {
      await using primary = start();
      await primary.logged("heap", 3);
      expect(primary.log.filter(ofWorker).map(({ limitBytes }) => limitBytes)).toEqual([expected, expected]);
    }
  },
);
