import { setFlagsFromString } from "node:v8";

// Where V8 spends memory on speed that this service doesn't gain by, or the other way round. What each one brings is in
// docs/performance.md.

/**
 * What V8 takes only when it starts, so that whatever starts the command says it: main.ts in its first line, `npm start`, the
 * Dockerfile, and the primary for its workers. A test holds them to this list.
 */
export const COMMAND_LINE_FLAGS: readonly string[] = [
  // The heap for new objects, of which there are three of this size, in MB.
  "--max-semi-space-size=16",
];

const RUN_TIME_FLAGS = [
  // A function of WebAssembly is optimized after so much work. The default of Node.js 22; that of 20 is a seventh, and
  // optimizes a good part of the query compiler and of the embedded database during the start.
  "--wasm-tiering-budget=13000000",
  // One at a time: threads keep what each of them needed at its height.
  "--wasm-num-compilation-tasks=1",
  // How much of the live heap may become garbage before it is collected. By default as much again or more, and half a
  // gigabyte before the first time.
  "--heap-growing-percent=60",
  // V8 may find that most objects which one place in the code makes grow old, and then make them old: where that is a call's, what they
  // hold is kept with them until the old heap is collected, 3 kB a call. One process in eight so came to need a sixth more CPU time.
  "--no-allocation-site-pretenuring",
  // So few new objects are collected sooner than threads for it are woken: 6 % of a call.
  "--no-parallel-scavenge",
];

/** The others. To be called before any WebAssembly is compiled. */
export function setRunTimeFlags(): void {
  for (const flag of RUN_TIME_FLAGS) setFlagsFromString(flag);
}
