import { z } from "zod";
import * as forwardAuth from "./forward-auth.js";
import * as identity from "./identity.js";
import * as processes from "./processes.js";
import { ConfigError, problemOf, readSettings, type Settings, type Values } from "./read.js";
import * as secrets from "./secrets.js";
import * as server from "./server.js";
import * as storage from "./storage.js";
import * as tokens from "./tokens.js";

/** The environment's variables, by name. Every one is a string there, never an empty one. */
export const variables = {
  ...server.variables,
  ...storage.variables,
  ...secrets.variables,
  ...tokens.variables,
  ...identity.variables,
  ...forwardAuth.variables,
  ...processes.variables,
};

type VariableName = keyof typeof variables;

/** What the environment says, checked. docs/configuration.md describes the variables. */
export type Config = Readonly<ReturnType<typeof toConfig>>;

const toConfig = (values: Values<typeof variables>) => ({
  ...server.toConfig(values),
  ...storage.toConfig(values),
  ...secrets.toConfig(values),
  ...tokens.toConfig(values),
  ...identity.toConfig(values),
  ...forwardAuth.toConfig(values),
  ...processes.toConfig(values),
});

/** What is wrong between variables. Looks at what was set, so that a malformed one hides nothing here. */
const conflicts = (settings: Settings<VariableName>): string[] =>
  [tokens, secrets, processes, identity, forwardAuth, server].flatMap((feature) =>
    feature.conflicts(settings),
  );

/** @throws ConfigError with all problems. */
export function readConfig(env: NodeJS.ProcessEnv): Config {
  const problems: string[] = [];
  const settings = readSettings(Object.keys(variables) as VariableName[], env, problems);
  const texts = Object.entries(settings).map(([name, { text }]) => [name, text]);
  const parsed = z.object(variables).safeParse(Object.fromEntries(texts));
  for (const { path, message } of parsed.error?.issues ?? []) {
    const [name, ...place] = path;
    const source = Object.entries(settings).find(([key]) => key === name)?.[1].source ?? "";
    problems.push(problemOf(source, place, message));
  }
  problems.push(...conflicts(settings));
  if (!parsed.success || problems.length > 0) throw new ConfigError(problems);
  return freeze(toConfig(parsed.data));
}

/** Freezes plain objects and arrays, all the way down. */
function freeze<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype) {
    Object.values(Object.freeze(value)).forEach(freeze);
  }
  return value;
}
