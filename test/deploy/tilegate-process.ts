import { spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";

/** What `npm run build` makes, as the container runs it. */
const MAIN = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

export type Env = Readonly<Record<string, string>>;

/** A line of the log, which a service and its workers share. What isn't JSON is all in `msg`. */
export interface LogLine {
  readonly msg: string;
  readonly [field: string]: unknown;
}

export interface TilegateProcess {
  readonly pid: number;
  readonly log: readonly LogLine[];
  /** Resolves with the `count`th line that says so, be it in the past. Rejects if the process ends before. */
  logged(msg: string, count?: number): Promise<LogLine>;
  kill(signal: NodeJS.Signals): void;
  /** The exit code once it and its workers have ended: null if a signal ended it. */
  readonly ended: Promise<number | null>;
}

/** Runs the built command with this environment and no other, until the test's end at most. */
export function spawnTilegate(args: readonly string[], env: Env): TilegateProcess {
  const child = spawn(process.execPath, [MAIN, ...args], { env, stdio: ["ignore", "ignore", "pipe"] });
  const log: LogLine[] = [];
  const changes = new EventEmitter();
  changes.setMaxListeners(0);
  createInterface({ input: child.stderr }).on("line", (line) => {
    log.push(parse(line));
    changes.emit("change");
  });
  let isOver = false;
  // Not "exit": workers hold the same pipe.
  const ended = once(child, "close").then(([code]) => {
    isOver = true;
    changes.emit("change");
    return code as number | null;
  });
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  return {
    pid: child.pid ?? 0,
    log,
    ended,
    async logged(msg, count = 1) {
      for (;;) {
        const line = log.filter((each) => each.msg === msg)[count - 1];
        if (line) return line;
        if (isOver) throw new Error(`ended without "${msg}":\n${log.map((each) => each.msg).join("\n")}`);
        await once(changes, "change");
      }
    },
    kill: (signal) => void child.kill(signal),
  };
}

/** Starts the service and resolves once it serves. */
export async function startService(env: Env): Promise<TilegateProcess & { readonly url: string }> {
  const service = spawnTilegate(["serve"], env);
  const { url } = await service.logged("serving");
  return Object.assign(service, { url: String(url) });
}

/** Runs a command to its end. */
export async function runTilegate(
  args: readonly string[],
  env: Env,
): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  const child = spawn(process.execPath, [MAIN, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close"),
  ]);
  return { code, stdout, stderr };
}

function parse(line: string): LogLine {
  try {
    return JSON.parse(line);
  } catch {
    return { msg: line };
  }
}
