import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { json } from "node:stream/consumers";
import type { Command } from "commander";
import { type Config, readConfig } from "../config/config.js";
import { DomainError, invalid } from "../domain/errors.js";
import { escapeControls } from "./output.js";

/** Less than the shortest patience of a container engine's or an orchestrator's check. */
const TIMEOUT_MS = 3_000;

/** All addresses: any of this machine will do. */
const WILDCARDS: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

/** The command, for a program that has all commands or just this one. */
export function addHealthcheckCommand(program: Command, env: NodeJS.ProcessEnv): Command {
  program
    .command("healthcheck")
    .description(
      "ask the service that runs here, with the same environment, whether it is ready; for containers",
    )
    .option("--live", "whether it answers at all, be its database away or not", false)
    .action(({ live }: { live: boolean }) =>
      checkHealth(readConfig(env).server, live ? "/healthz" : "/readyz"),
    );
  return program;
}

/**
 * Asks the service that runs with this configuration on this machine, within 3 s.
 * @param path `/readyz` or `/healthz`.
 * @throws DomainError unavailable with its reasons, if it doesn't say yes.
 */
async function checkHealth({ host, port, tls }: Config["server"], path: string): Promise<void> {
  if (port === 0) throw invalid("PORT", "is 0, which doesn't say where the service listens");
  const request = tls ? requestHttps : requestHttp;
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  // The certificate is for the clients' name of the service, not for this address.
  const options = { host: WILDCARDS[host] ?? host, port, path, signal, rejectUnauthorized: false };
  try {
    const { status, reasons } = await new Promise<Answer>((resolve, reject) => {
      const sent = request(options, async (response) => {
        const body = await json(response).catch(() => undefined);
        resolve({ status: response.statusCode ?? 0, reasons: reasonsOf(body) });
      });
      sent.on("error", reject);
      sent.end();
    });
    if (status !== 200) throw unhealthy(reasons ?? `answered ${status}`);
  } catch (error) {
    if (error instanceof DomainError || !(error instanceof Error)) throw error;
    throw unhealthy(signal.aborted ? `no answer within ${TIMEOUT_MS / 1000} s` : error.message);
  }
}

interface Answer {
  readonly status: number;
  readonly reasons: string | undefined;
}

function reasonsOf(body: unknown): string | undefined {
  const reasons = typeof body === "object" && body !== null ? Reflect.get(body, "reasons") : undefined;
  return Array.isArray(reasons) ? escapeControls(reasons.join("; ")) : undefined;
}

const unhealthy = (why: string) => new DomainError("unavailable", "NOT_HEALTHY", `not healthy: ${why}`);
