import { inject } from "vitest";
import { findProgram, freePort, serverDirectory, startServer, type TestServer } from "./server-process.js";

/** The server that all tests share; undefined where there is none: `describe.skipIf(!redisUrl())`. */
export const redisUrl = (): string | undefined => inject("redisUrl") ?? undefined;

/** Whether this machine can start one: `test.skipIf(!canStartRedis())`. */
export const canStartRedis = (): boolean => findProgram("redis-server") !== undefined;

/** A server of its own, for a test that stops or kills it. It keeps nothing over restarts. */
export async function startRedis(): Promise<TestServer> {
  const file = findProgram("redis-server");
  if (!file) throw new Error("no Redis server is installed");
  const directory = await serverDirectory();
  const port = await freePort();
  const args = ["--bind", "127.0.0.1", "--port", String(port), "--dir", directory, "--save", ""];
  return startServer(
    { file, args, readyMessage: "Ready to accept connections", stopSignal: "SIGTERM" },
    { url: `redis://127.0.0.1:${port}`, port, directory },
  );
}
