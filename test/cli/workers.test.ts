import { randomBytes } from "node:crypto";
import { createConnection } from "node:net";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Environment, spawnTilegate, startTilegate } from "../../harness/tilegate.mjs";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { createTestDatabase, postgresUrl, type TestDatabase } from "../harness/postgres.js";
import { connectRaw } from "../server/raw-client.js";

const WORKERS = 2;
const datasetId = "2489e9ad-2ee2-8e00-8ec9-32d5f69181c0";

describe.skipIf(!postgresUrl())("several workers", () => {
  let database: TestDatabase;
  let env: Environment;
  beforeEach(async () => {
    database = await createTestDatabase();
    env = {
      DATABASE_URL: database.url,
      TILE_SIGNING_KEYS: "signing-key-of-a-test",
      ENCRYPTION_KEYS: randomBytes(32).toString("base64"),
      HOST: "127.0.0.1",
      PORT: "0",
      WORKERS: String(WORKERS),
      SHUTDOWN_DELAY_SECONDS: "0",
      LOG_LEVEL: "debug",
    };
  });
  afterEach(() => database[Symbol.asyncDispose]());

  test("share one port, which is announced once, when all serve", async () => {
    await using service = await startTilegate({ ...env, SEED_DEMO: "true" });
    const connections = [1, 2, 3, 4].map(() =>
      createClient(TileTokenService, createGrpcTransport({ baseUrl: service.url })),
    );
    for (const client of connections) {
      expect((await client.getTileToken({ datasetId })).token.case).toBe("vector");
    }
    // The log comes through a pipe of its own, later than the answers.
    await service.logged("rpc", connections.length);
    const served = service.log.filter(({ msg }) => msg === "rpc").map(({ worker }) => worker);
    expect(new Set(served).size).toBe(WORKERS);
    expect(service.log.filter(({ msg }) => msg === "serving")).toEqual([
      expect.objectContaining({ url: service.url, workers: WORKERS }),
    ]);
  });

  test("one that dies is replaced, and the port stays", async () => {
    await using service = await startTilegate(env);
    const { pid } = await service.logged("worker started");
    process.kill(Number(pid), "SIGKILL");
    expect(await service.logged("worker died")).toMatchObject({ worker: 1, signal: "SIGKILL" });
    await service.logged("worker serving");
    expect((await fetch(`${service.url}/readyz`)).status).toBe(200);
  });

  test("if they keep dying young, the service gives up with exit code 1 and leaves none behind", async () => {
    await using service = await startTilegate(env);
    const nextStarted = (count: number) => service.logged("worker started", count).catch(() => undefined);
    let deaths = 0;
    for (let line = await nextStarted(1); line; line = await nextStarted(WORKERS + deaths)) {
      process.kill(Number(line.pid), "SIGKILL");
      deaths += 1;
    }
    // The first one may have taken long to start, and so died late.
    expect(deaths - 3 * WORKERS).toBeOneOf([1, 2]);
    expect((await service.finished).code).toBe(1);
    expect(service.log.at(-1)?.msg).toBe("tilegate: workers keep dying");
  });

  test("one that can't start ends the service at once, with its reason", async () => {
    await using other = await startTilegate(env);
    await using service = spawnTilegate(["serve"], { ...env, PORT: new URL(other.url).port });
    expect((await service.finished).code).toBe(1);
    const messages = service.log.map(({ msg }) => msg);
    expect(messages).toContainEqual(expect.stringContaining("EADDRINUSE"));
    expect(messages.filter((msg) => msg === "worker started")).toHaveLength(WORKERS);
  });

  test("finish their calls on SIGTERM, then all end with exit code 0", async () => {
    await using service = await startTilegate(env);
    const { port } = new URL(service.url);
    const calls = await Promise.all([1, 2, 3, 4].map(() => connectRaw(Number(port))));
    const body = JSON.stringify({ dataset_ids: [datasetId] });
    for (const { socket, receives } of calls) {
      const head = ["POST /api/tiles/tokens/ HTTP/1.1", "Host: a", `Content-Length: ${body.length}`];
      socket.write([...head, "Expect: 100-continue", "\r\n"].join("\r\n"));
      await receives("100 Continue");
    }
    service.signal("SIGTERM");
    await service.logged("shutting down", WORKERS);
    for (const { socket } of calls) socket.write(body);
    for (const { ended } of calls) expect(await ended).toMatch(/200 OK.*Connection: close/is);
    expect((await service.finished).code).toBe(0);
  });

  test("leave together: a terminal's Ctrl-C, which reaches them too, is one signal; the second cuts the delay", async () => {
    await using service = await startTilegate({ ...env, SHUTDOWN_DELAY_SECONDS: "300" });
    const started = service.log.filter(({ msg }) => msg === "worker started");
    for (const pid of [service.pid, ...started.map(({ pid }) => Number(pid))]) process.kill(pid, "SIGINT");
    await service.logged("shutting down", WORKERS);
    expect((await fetch(`${service.url}/healthz`)).status).toBe(200);
    expect((await fetch(`${service.url}/readyz`)).status).toBe(503);
    service.signal("SIGINT");
    expect((await service.finished).code).toBe(0);
  });

  test("go with a primary that is killed", async () => {
    await using service = await startTilegate(env);
    service.signal("SIGKILL");
    await service.finished;
    const refused = new Promise((resolve) => {
      createConnection(Number(new URL(service.url).port), "127.0.0.1").on("error", resolve);
    });
    expect(await refused).toMatchObject({ code: "ECONNREFUSED" });
  });

  test("hear each other's announcements through the primary, as they are, and not their own", async () => {
    const announcer = new URL("./announcer.mjs", import.meta.url).href;
    await using service = await startTilegate({
      ...env,
      WORKERS: "3",
      NODE_OPTIONS: `--import=${announcer}`,
    });
    const { pid } = await service.logged("worker started", 2);
    process.kill(Number(pid), "SIGUSR2");
    await service.logged("heard", 2);
    // Whatever else it relays comes before its workers' end.
    service.signal("SIGTERM");
    await service.finished;
    const heard = service.log.filter(({ msg }) => msg === "heard");
    expect(heard.map(({ by }) => by).sort()).toEqual([1, 3]);
    for (const line of heard) expect(line).toMatchObject({ from: 2, of: ["any", { shape: 1 }] });
  });
});
