import { setFlagsFromString } from "node:v8";

// Where V8 spends memory on speed that this service doesn't gain by. What each one brings is in docs/performance.md. They
// must be set before any WebAssembly is compiled: main.ts imports this first.
const FLAGS = [
  // A function of WebAssembly is optimized after so much work. The default of Node.js 22; that of 20 is a seventh, and
  // optimizes a good part of the query compiler and of the embedded database during the start.
  "--wasm-tiering-budget=13000000",
  // One at a time: threads keep what each of them needed at its height.
  "--wasm-num-compilation-tasks=1",
  // How much of the live heap may become garbage before it is collected. By default as much again or more, and half a
  // gigabyte before the first time.
  "--heap-growing-percent=60",
  // The heap for new objects stays at its first megabyte: up to 5 % of the processor's time for 30 MB, and shorter pauses.
  "--semi-space-growth-factor=1",
  // One megabyte is collected sooner than threads for it are woken: 6 % of a call.
  "--no-parallel-scavenge",
];

for (const flag of FLAGS) setFlagsFromString(flag);
