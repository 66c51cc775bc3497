import { readFileSync } from "node:fs";
import type { z } from "zod";

/** The configuration can't be used. The message lists every problem, one a line, and quotes no value. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  constructor(readonly problems: readonly string[]) {
    super(["Invalid configuration:", ...problems.map((problem) => `  ${problem}`)].join("\n"));
  }
}

export interface Setting {
  /** What the user set: NAME or NAME_FILE. */
  readonly source: string;
  /** Absent when it can't be had. */
  readonly text?: string;
}

/** What was set, by the variable's name. What isn't there was not set, or set to nothing. */
export type Settings<Name extends string> = { [N in Name]?: Setting };

/** What variables say, once they are parsed and checked. */
export type Values<Variables extends z.ZodRawShape> = z.output<z.ZodObject<Variables>>;

/** Reads NAME, or the file that NAME_FILE names; what is wrong with either goes to `problems`. */
export function readSettings<Name extends string>(
  names: readonly Name[],
  env: NodeJS.ProcessEnv,
  problems: string[],
): Settings<Name> {
  const settings: Settings<Name> = {};
  for (const name of names) {
    const value = env[name] || undefined;
    const fileName = `${name}_FILE`;
    const path = env[fileName] || undefined;
    if (path === undefined) {
      if (value !== undefined) settings[name] = { source: name, text: value };
      continue;
    }
    settings[name] = { source: fileName };
    if (value !== undefined) {
      problems.push(`${name} and ${fileName}: only one may be set`);
      continue;
    }
    try {
      const text = withoutLineEnd(readFileSync(path, "utf8"));
      if (text === "") problems.push(`${fileName}: the file is empty`);
      else settings[name] = { source: fileName, text };
    } catch (error) {
      // Not the path: it may be the secret itself, by mistake.
      problems.push(`${fileName}: can't read the file (${errorCode(error)})`);
    }
  }
  return settings;
}

/** What a file with a value holds: one line end at its end is the editor's. */
export const withoutLineEnd = (content: string): string => content.replace(/\r?\n$/, "");

/** @param place Where in the value it is: of the item of a list, its index. */
export const problemOf = (source: string, [index]: readonly PropertyKey[], message: string): string =>
  `${source}${typeof index === "number" ? `, item ${index + 1}` : ""}: ${message}`;

export function errorCode(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown error";
}
