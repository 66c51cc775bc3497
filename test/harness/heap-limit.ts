import { spawnSync } from "node:child_process";

/** As NODE_OPTIONS: a process with it logs its heap's limit, as `heap`. */
export const TELL_HEAP_LIMIT = `--import=${new URL("./heap-probe.mjs", import.meta.url).href}`;

/** How large V8 lets the heap become, of which the sizes of all spaces are part, in a process with these flags that is none of ours. */
export function heapLimitOf(flags: readonly string[]): number {
  const script = "process.stdout.write(String(v8.getHeapStatistics().heap_size_limit))";
  return Number(spawnSync(process.execPath, [...flags, "-e", script], { encoding: "utf8" }).stdout);
}
