import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import {
  canStartPostgres,
  canStartRedis,
  type Server,
  startPostgres,
  startRedis,
} from "../../harness/servers.mjs";
import { enableStatistics, STATISTICS } from "./postgres.js";

declare module "vitest" {
  export interface ProvidedContext {
    postgresUrl: string | null;
    redisUrl: string | null;
    /** What test files make once for all of a run. */
    runDirectory: string;
  }
}

/** What a power cut would lose is no loss here. */
const FAST = { fsync: "off", synchronous_commit: "off", full_page_writes: "off" };

/**
 * One PostgreSQL and one Redis for the whole run: TEST_DATABASE_URL and TEST_REDIS_URL, else started here. And one
 * directory, which is removed afterwards.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const started: Server[] = [];
  const runDirectory = await mkdtemp(join(tmpdir(), "tilegate-test-"));
  project.provide("runDirectory", runDirectory);
  const stop = async (): Promise<void> => {
    await Promise.all(started.map((server) => server[Symbol.asyncDispose]()));
    await rm(runDirectory, { recursive: true, force: true });
  };
  const startShared = () => startPostgres({ settings: { ...FAST, ...STATISTICS, max_connections: "200" } });
  try {
    const postgres = await provide(
      "PostgreSQL",
      process.env.TEST_DATABASE_URL,
      canStartPostgres,
      startShared,
    );
    if (postgres) await enableStatistics(postgres);
    project.provide("postgresUrl", postgres);
    project.provide(
      "redisUrl",
      await provide("Redis", process.env.TEST_REDIS_URL, canStartRedis, startRedis),
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return stop;

  async function provide(
    name: string,
    given: string | undefined,
    canStart: () => boolean,
    start: () => Promise<Server>,
  ): Promise<string | null> {
    if (given) return given;
    if (canStart()) {
      const server = await start();
      started.push(server);
      return server.url;
    }
    const message = `${name} is neither installed nor given by TEST_${name === "Redis" ? "REDIS" : "DATABASE"}_URL`;
    if (process.env.CI === "true") throw new Error(message);
    process.stderr.write(`\n*** ${message}: the tests that need it are SKIPPED ***\n\n`);
    return null;
  }
}
