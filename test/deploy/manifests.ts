import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import type { Environment } from "../../harness/tilegate.mjs";

// The deployment's files, as far as tests look at them.

export interface ComposeService {
  readonly image: string;
  readonly command?: readonly string[];
  readonly environment?: Environment;
  readonly secrets?: readonly string[];
  readonly networks: readonly string[];
  readonly ports?: readonly string[];
  readonly read_only?: boolean;
  readonly stop_grace_period?: string;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
}

export interface Compose {
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
}

export const readCompose = (): Compose => parse(readFileSync("compose.yaml", "utf8"), { merge: true });

export function composeService(name: string): ComposeService {
  const service = readCompose().services[name];
  if (!service) throw new Error(`compose.yaml has no service ${name}`);
  return service;
}

/** Makes an installation's secrets in `directory` and returns their names. */
export function makeSecrets(directory: string, databaseHost: string): string[] {
  execFileSync("deploy/make-secrets.sh", [directory, databaseHost]);
  return readdirSync(directory).sort();
}

/** What a container sees as files of `mounted` is in `directory` here. */
export function moveSecrets(env: Environment, mounted: string, directory: string): Environment {
  const moved = Object.entries(env).map(([name, value]) => [
    name,
    value.startsWith(mounted) ? join(directory, value.slice(mounted.length)) : value,
  ]);
  return Object.fromEntries(moved);
}
