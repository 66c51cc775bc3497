import { readFileSync } from "node:fs";
import { ConfigError } from "../config/read.js";
import { DomainError } from "../domain/errors.js";
import { DirectoryInUseError } from "../stores/prisma/directory-lock.js";
import { MigrationError } from "../stores/prisma/migrations.js";
import { addHealthcheckCommand } from "./healthcheck.js";
import { COMMAND_OUTPUT, printError } from "./output.js";

const EXIT_FAILURE = 1;
const EXIT_CONFIGURATION = 2;

const { version }: { version: string } = JSON.parse(
  readFileSync(new URL("../../package.json", import.meta.url), "utf8"),
);

/**
 * Runs a command line to its end, printing its failure. A command that failed without one has set process.exitCode.
 * @returns The exit code of a failure; undefined if there was none.
 */
export async function run(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number | undefined> {
  try {
    if (!isPlainServe(args)) return await runProgram(args, env);
    const { serve } = await import("./serve.js");
    await serve(env);
    return undefined;
  } catch (error) {
    printError(`tilegate: ${describe(error)}`);
    return error instanceof ConfigError ? EXIT_CONFIGURATION : EXIT_FAILURE;
  }
}

/** The service runs for months: it doesn't load what reads command lines. */
const isPlainServe = ([command = "serve", ...rest]: readonly string[]): boolean =>
  command === "serve" && rest.length === 0;

async function runProgram(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number | undefined> {
  const { Command, CommanderError } = await import("commander");
  try {
    // Containers run the health check every few seconds: it doesn't load the service, which takes half a second.
    const program =
      args[0] === "healthcheck"
        ? addHealthcheckCommand(new Command("tilegate").exitOverride().configureOutput(COMMAND_OUTPUT), env)
        : (await import("./program.js")).createProgram(env, version);
    await program.parseAsync(args, { from: "user" });
    return undefined;
  } catch (error) {
    // What is wrong with its arguments, or the help that was asked for, it has printed itself.
    if (error instanceof CommanderError) return error.exitCode;
    throw error;
  }
}

/** Expected failures in one line or a few; the rest, being a defect, with its stack. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const expected = [ConfigError, DomainError, DirectoryInUseError, MigrationError].some(
    (type) => error instanceof type,
  );
  if (expected || "syscall" in error) return error.message;
  return error.stack ?? error.message;
}
