import { Redis } from "ioredis";
import { describe, expect, test } from "vitest";
import { canStartPostgres, canStartRedis, startPostgres, startRedis } from "../../harness/servers.mjs";
import { startTestApp, type TestApp } from "../harness/app.js";
import { postgresUrl } from "../harness/postgres.js";
import { startLoad } from "./load.js";
import { createSeededInstallation, type SeededInstallation } from "./seeded-installation.js";

/** What a second means on a busy machine. */
const ONE_SECOND_MS = 2_000;

describe.skipIf(!postgresUrl() || !canStartRedis())("under a load of batches", () => {
  test("a Redis that is killed, hangs and is flushed fails no call", async ({ annotate }) => {
    await using server = await startRedis();
    await using installation = await createSeededInstallation();
    const ids = await installation.newDatasets(10);
    // Entries of a second: Redis and PostgreSQL are asked all the time.
    await using app = await startRunningApp(installation, {
      REDIS_URL: server.url,
      DATASET_CACHE_TTL_SECONDS: "1",
    });
    const admin = new Redis(server.url);
    admin.on("error", () => undefined);
    await using load = startLoad(app.url, ids);
    const start = performance.now();

    await load.calls(500);
    await server.kill9();
    await load.calls(1_000);
    await server.restart();
    await load.calls(1_000);

    const pid = Number(/process_id:(\d+)/.exec(await admin.info("server"))?.[1]);
    process.kill(pid, "SIGSTOP");
    await load.calls(1_500).finally(() => process.kill(pid, "SIGCONT"));
    await load.calls(500);

    await admin.flushall();
    await load.calls(500);
    const perSecond = Math.round((1000 * load.answered) / (performance.now() - start));
    await annotate(`${perSecond} batches a second, the slowest took ${Math.round(load.slowest)} ms`);
    expect(load.failures).toEqual([]);
    // One timeout, and what sixteen busy callers on two busy cores add to it: nobody hangs with Redis.
    expect(load.slowest).toBeLessThan(10_000);
    admin.disconnect();
  });
});

describe.skipIf(!canStartPostgres())("when PostgreSQL is stopped under a load of warm batches", () => {
  test("they go on, cold calls are UNAVAILABLE within a second, and all is well within two of its return", async () => {
    await using server = await startPostgres({ settings: { fsync: "off" } });
    await using installation = await createSeededInstallation(server.url);
    const ids = await installation.newDatasets(10);
    const coldIds = await installation.newDatasets(200);
    await using app = await startRunningApp(installation);
    const coldToken = () => app.fetch(`/api/tiles/token/${coldIds.pop()}/`);
    await using load = startLoad(app.url, ids);
    await load.calls(200);

    await server.stop();
    await load.calls(500);
    const start = performance.now();
    const refused = await coldToken();
    expect(performance.now() - start).toBeLessThan(ONE_SECOND_MS);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
    const readiness = await app.fetch("/readyz");
    expect(await readiness.json()).toEqual({
      status: "not ready",
      reasons: ["the database can't be reached"],
    });
    expect((await app.fetch("/healthz")).status).toBe(200);

    await server.restart();
    const back = performance.now();
    while ((await coldToken()).status !== 200) expect(performance.now() - back).toBeLessThan(2_000);
    expect((await app.fetch("/readyz")).status).toBe(200);
    await load.calls(200);
    expect(load.failures).toEqual([]);
  });
});

describe.skipIf(!postgresUrl() || !canStartRedis())("with a wrong password for Redis", () => {
  test("everything works without it, one line of the log says so, and none has the password", async () => {
    await using server = await startRedis();
    const admin = new Redis(server.url);
    await admin.config("SET", "requirepass", "right");
    admin.disconnect();
    await using installation = await createSeededInstallation();
    const [id] = await installation.newDatasets(1);
    const url = new URL(server.url);
    url.password = "hunter2hunter2";
    await using app = await startRunningApp(installation, { REDIS_URL: url.href });
    for (let call = 0; call < 10; call++) {
      expect((await app.fetch(`/api/tiles/token/${id}/`)).status).toBe(200);
    }
    const readiness = await app.fetch("/readyz");
    expect(await readiness.json()).toEqual({ status: "ready", degraded: ["Redis can't be reached"] });
    const warnings = app.log.map((line) => JSON.parse(line)).filter(({ level }) => level >= 40);
    expect(warnings).toMatchObject([{ msg: "Redis can't be reached: going on without it" }]);
    expect(app.log.join()).not.toContain("hunter2");
  });
});

/** A replica for which time passes. */
async function startRunningApp(
  { env }: SeededInstallation,
  settings: Readonly<Record<string, string>> = {},
): Promise<TestApp> {
  const app = await startTestApp({ ...env, LOG_LEVEL: "info", ...settings });
  Object.defineProperty(app, "now", { get: () => new Date() });
  return app;
}
