import type { Cluster, Redis } from "ioredis";
import { describe, expect, test, vi } from "vitest";
import { canStartRedis, startRedis } from "../../harness/servers.mjs";
import { createRedis } from "../../src/stores/redis/redis.js";

const silent = { info: () => {}, warn: () => {} };

describe.skipIf(!canStartRedis())("a connection to Redis", () => {
  test("without a server, commands fail at once and an outage is one line in the log", async () => {
    await using server = await startRedis();
    await server.stop();
    const log = { info: vi.fn(), warn: vi.fn() };
    await using connection = createRedis(server.url, { log });
    const { client } = connection;
    await expect(client.get("a")).rejects.toThrow();
    await told(client, "reconnecting");
    await told(client, "reconnecting");
    expect(log.warn).toHaveBeenCalledOnce();
    const ready = told(client, "ready");
    await server.restart();
    await ready;
    expect(await client.set("a", "b")).toBe("OK");
    expect(log.info).toHaveBeenCalledOnce();
  });

  test("a command whose connection broke fails and is not sent again", async () => {
    await using server = await startRedis();
    await using connection = createRedis(server.url, { log: silent });
    await using other = createRedis(server.url, { log: silent });
    const { client } = connection;
    await Promise.all([told(client, "ready"), told(other.client, "ready")]);
    await other.client.client("PAUSE", 300_000, "WRITE");
    const broken = expect(client.incr("counter")).rejects.toThrow();
    const ready = told(client, "ready");
    client.disconnect(true);
    await broken;
    await ready;
    await other.client.client("UNPAUSE");
    expect(await client.get("counter")).toBeNull();
  });

  test("a refused password is not in the log", async () => {
    await using server = await startRedis();
    const url = new URL(server.url);
    url.username = "nobody";
    url.password = "hunter2hunter2";
    let onWarning: (logged: string) => void = () => {};
    const warning = new Promise<string>((resolve) => {
      onWarning = resolve;
    });
    const log = { info: () => {}, warn: (...logged: unknown[]) => onWarning(JSON.stringify(logged)) };
    await using _connection = createRedis(url.href, { log });
    const logged = await warning;
    expect(logged).toContain("WRONGPASS");
    expect(logged).not.toContain("hunter2");
  });
});

test("a connection that was never made is disposed of", async () => {
  await createRedis("redis://127.0.0.1:1", { log: silent })[Symbol.asyncDispose]();
});

/** As events.once, which rejects with the error events that these tests bring about. */
const told = (client: Redis | Cluster, event: string) =>
  new Promise<void>((resolve) => client.once(event, () => resolve()));
