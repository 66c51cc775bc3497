#!/usr/bin/env node
import "./v8-flags.js";
import { run } from "./cli/run.js";

const code = await run(process.argv.slice(2), process.env);
if (code !== undefined) process.exitCode = code;
