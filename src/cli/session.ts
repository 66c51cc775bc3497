import { InvalidArgumentError } from "commander";
import pino from "pino";
import type { Backend, UseCases } from "../compose/backend.js";
import { readConfig } from "../config/config.js";
import { systemClock } from "../domain/clock.js";
import { OPERATOR } from "../domain/identity/principal.js";
import { canonicalUuid, isUuid } from "../domain/uuid.js";
import { printError } from "./output.js";

export const CONFIGURED =
  "Configured by the environment, like the service: DATABASE_URL, or DATA_DIR for the embedded database.";

/** Runs a command's work over the installation that the environment configures. */
export async function withBackend(
  env: NodeJS.ProcessEnv,
  work: (backend: Backend) => Promise<void>,
): Promise<void> {
  const config = readConfig(env);
  // Not before it is needed: help and a bad configuration needn't wait for it.
  const { openBackend } = await import("../compose/backend.js");
  const log = pino({ level: "warn", base: undefined }, { write: (line) => printError(line.trimEnd()) });
  await using backend = await openBackend({ config, clock: systemClock, log });
  await work(backend);
}

/** @throws DomainError not_found. */
export async function resolveAccount({ accounts }: UseCases, idOrName: string): Promise<string> {
  const account = isUuid(idOrName)
    ? await accounts.get(OPERATOR, canonicalUuid(idOrName))
    : await accounts.findByName(OPERATOR, idOrName);
  return account.id;
}

/** Progress for people who wait: nothing where standard error is not a terminal. */
export function showProgress(text: string, done: boolean): void {
  if (process.stderr.isTTY) process.stderr.write(`\r${text}${done ? "\n" : ""}`);
}

export function parseUuid(text: string): string {
  if (!isUuid(text)) throw new InvalidArgumentError("It must be a UUID.");
  return canonicalUuid(text);
}

export function parseTime(text: string): Date {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) {
    throw new InvalidArgumentError("It must be a time such as 2027-01-31T00:00:00Z.");
  }
  return time;
}
