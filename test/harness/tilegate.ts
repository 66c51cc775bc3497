import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

export type Environment = Readonly<Record<string, string>>;

export interface Finished {
  /** Undefined when a signal ended the process. */
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** The service as a process of its own. Disposal kills it. */
export interface TilegateProcess extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  readonly finished: Promise<Finished>;
  signal(signal: NodeJS.Signals): void;
  /** Resolves once such a line was written to standard output or error, the past included. */
  says(pattern: RegExp): Promise<string>;
}

/** Runs the built command to its end. Its environment is `env` and PATH, nothing of this process's. */
export async function runTilegate(args: readonly string[], env: Environment = {}): Promise<Finished> {
  return start(args, env).finished;
}

/** Starts the service on a free port and waits until it serves. @throws if it ends before. */
export async function startTilegate(env: Environment): Promise<TilegateProcess> {
  const { child, finished, says } = start([], { PORT: "0", ...env });
  const line = await says(/"msg":"serving"/);
  const { url } = JSON.parse(line) as { url: string };
  return {
    url,
    pid: child.pid ?? 0,
    finished,
    says,
    signal: (signal) => child.kill(signal),
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await finished;
    },
  };
}

function start(args: readonly string[], env: Environment) {
  const child: ChildProcess = spawn(process.execPath, [MAIN, ...args], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const lines: string[] = [];
  const waiting: { pattern: RegExp; resolve(line: string): void; reject(error: Error): void }[] = [];
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    const stream = child[name];
    if (!stream) throw new Error("the process has no output");
    createInterface({ input: stream }).on("line", (line) => {
      output[name] += `${line}\n`;
      lines.push(line);
      for (const { pattern, resolve } of waiting) if (pattern.test(line)) resolve(line);
    });
  }
  const finished = once(child, "close").then(([code]): Finished => {
    for (const { pattern, reject } of waiting) {
      reject(new Error(`it ended without saying ${pattern}:\n${lines.join("\n")}`));
    }
    return { code: code ?? undefined, ...output };
  });
  const says = (pattern: RegExp): Promise<string> =>
    new Promise((resolve, reject) => {
      const said = lines.find((line) => pattern.test(line));
      if (said !== undefined) resolve(said);
      else waiting.push({ pattern, resolve, reject });
    });
  return { child, finished, says };
}
