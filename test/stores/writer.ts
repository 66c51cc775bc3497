import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { DatabaseOptions } from "../../src/stores/prisma/database.js";

/** Another process that has written an account of this `name`, been told so, and holds the database. */
export async function startWriter(
  options: DatabaseOptions,
  name: string,
): Promise<{ kill9(): Promise<void> }> {
  const script = fileURLToPath(new URL("writer.mjs", import.meta.url));
  const child = spawn(process.execPath, [script, JSON.stringify(options), name], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const said = await Promise.race([once(child.stdout, "data").then(([data]) => String(data)), exited]);
  if (said !== "acknowledged\n") throw new Error(`the writer ended: ${said}`);
  return {
    kill9: async () => {
      child.kill("SIGKILL");
      await exited;
    },
  };
}
