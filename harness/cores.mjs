import { spawnSync } from "node:child_process";
import { cpus } from "node:os";

/** What is measured has one core; what measures it, and the databases, have the other. */
export const SERVER_CORE = 0;
export const OTHER_CORE = 1;

const canPin = cpus().length > 1 && spawnSync("taskset", ["--version"]).status === 0;

/**
 * The command that runs `command` on that core, where that can be had.
 * @param {number | undefined} core Undefined: on any.
 * @param {readonly [string, ...string[]]} command
 * @returns {readonly [string, ...string[]]}
 */
export const pinned = (core, command) =>
  canPin && core !== undefined ? ["taskset", "-c", String(core), ...command] : command;
