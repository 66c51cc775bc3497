#!/usr/bin/env -S node --max-semi-space-size=16
import { setRunTimeFlags } from "./v8-flags.js";

setRunTimeFlags();
// Not before: it brings WebAssembly with it.
const { run } = await import("./cli/run.js");

const code = await run(process.argv.slice(2), process.env);
if (code !== undefined) process.exitCode = code;
