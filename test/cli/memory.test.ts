import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const MEMORY = fileURLToPath(new URL("../../dist/memory.js", import.meta.url));

test("this version of Node.js knows every setting of V8 that the service makes", () => {
  // V8 says so on standard error when it doesn't, and goes on.
  const { status, stderr } = spawnSync(process.execPath, [MEMORY], { encoding: "utf8" });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
});
