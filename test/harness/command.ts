import { vi } from "vitest";
import type { Finished } from "../../harness/node-process.mjs";
import type { Environment } from "../../harness/tilegate.mjs";
import { run } from "../../src/cli/run.js";

/** Runs a command as `tilegate` would, but in this process, which spares its start. One at a time. */
export async function runCommand(args: readonly string[], env: Environment = {}): Promise<Finished> {
  const output = { stdout: "", stderr: "" };
  const spies = (["stdout", "stderr"] as const).map((name) =>
    vi.spyOn(process[name], "write").mockImplementation((text) => {
      output[name] += text;
      return true;
    }),
  );
  const before = process.exitCode;
  process.exitCode = undefined;
  try {
    const code = await run(args, env);
    return { code: code ?? Number(process.exitCode ?? 0), ...output };
  } finally {
    process.exitCode = before;
    for (const spy of spies) spy.mockRestore();
  }
}
