import { EventEmitter, once } from "node:events";
import { writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { credentials, Client as GrpcJsClient } from "@grpc/grpc-js";
import { describe, expect, onTestFinished, test } from "vitest";
import { runTilegate, startTilegate } from "../../harness/tilegate.mjs";
import {
  BatchGetTileTokensRequestSchema,
  BatchGetTileTokensResponseSchema,
  TileTokenService,
} from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { temporaryDirectory } from "../harness/data-directory.js";
import { createTestDatabase, postgresUrl } from "../harness/postgres.js";
import { redisUrl } from "../harness/redis.js";
import { startBalancer } from "./balancer.js";
import { composeService, makeSecrets, moveSecrets } from "./manifests.js";

const datasetId = "2489e9ad-2ee2-8e00-8ec9-32d5f69181c0";

/** Makes one call and resolves with the answer, as JSON of some kind. */
type Call = () => Promise<string>;

/** Several clients that call again and again, each over connections that it keeps. */
function startLoad(calls: Readonly<Record<string, Call>>) {
  const progress = new EventEmitter();
  const failures: unknown[] = [];
  const counts: Record<string, number> = {};
  let isOver = false;
  onTestFinished(() => {
    isOver = true;
  });
  const loops = Object.entries(calls).map(async ([name, call]) => {
    counts[name] = 0;
    while (!isOver) {
      await call().then(
        (answer) => answer.includes('"harbour"') || failures.push({ name, answer }),
        (error) => failures.push({ name, error }),
      );
      counts[name] += 1;
      progress.emit("call");
    }
  });
  return {
    failures,
    /** Resolves once each client has made so many more calls. */
    async more(count: number) {
      const goals = Object.entries(counts).map(([name, now]) => [name, now + count] as const);
      while (goals.some(([name, goal]) => (counts[name] ?? 0) < goal)) await once(progress, "call");
    },
    async stop() {
      isOver = true;
      await Promise.all(loops);
    },
  };
}

function keepAliveClient(port: number): Call {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(() => agent.destroy());
  const body = JSON.stringify({ dataset_ids: [datasetId] });
  const options = { agent, port, host: "127.0.0.1", method: "POST", path: "/api/tiles/tokens/" };
  return () =>
    new Promise((resolve, reject) => {
      const sent = request(options, (response) => {
        text(response).then(resolve, reject);
      });
      sent.on("error", reject);
      sent.end(body);
    });
}

function grpcJsClient(port: number): Call {
  const client = new GrpcJsClient(`127.0.0.1:${port}`, credentials.createInsecure());
  onTestFinished(() => client.close());
  const message = create(BatchGetTileTokensRequestSchema, { datasetIds: [datasetId] });
  return () =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        `/${TileTokenService.typeName}/BatchGetTileTokens`,
        () => Buffer.from(toBinary(BatchGetTileTokensRequestSchema, message)),
        (bytes) => fromBinary(BatchGetTileTokensResponseSchema, bytes),
        message,
        (error, response) => {
          if (error) return reject(error);
          resolve(JSON.stringify(response?.tokens[datasetId]?.result));
        },
      );
    });
}

function connectClient(port: number): Call {
  const client = createClient(TileTokenService, createGrpcTransport({ baseUrl: `http://127.0.0.1:${port}` }));
  return async () => {
    const { tokens } = await client.batchGetTileTokens({ datasetIds: [datasetId] });
    return JSON.stringify(tokens[datasetId]?.result);
  };
}

describe.skipIf(!postgresUrl() || !redisUrl())("compose.yaml's topology, from processes", () => {
  test("restarting both replicas, one after the other, fails no call, over HTTP/1.1 keep-alive and over gRPC", async () => {
    await using database = await createTestDatabase();
    await using directory = await temporaryDirectory();
    const secrets = join(directory.path, "secrets");
    makeSecrets(secrets, "127.0.0.1");
    writeFileSync(join(secrets, "database-url"), database.url);
    const env = {
      ...moveSecrets({ ...composeService("tilegate-1").environment }, "/run/secrets", secrets),
      REDIS_URL: redisUrl() ?? "",
      HOST: "127.0.0.1",
      PORT: "0",
      // This balancer notices at once, and the last second of the delay is what clients need.
      SHUTDOWN_DELAY_SECONDS: "2",
    };

    const run = async (...args: string[]) => {
      const { code, stderr } = await runTilegate(args, env);
      expect(code, stderr).toBe(0);
    };
    await run(...(composeService("migrate").command ?? []));
    const catalog = join(directory.path, "catalog.json");
    const dataset = { id: datasetId, kind: "vector", table_name: "harbour", visibility: "public" };
    writeFileSync(catalog, JSON.stringify([{ ...dataset, status: "published" }]));
    await run("account", "create", "--name", "acme");
    await run("datasets", "import", catalog, "--account", "acme");

    await using balancer = await startBalancer();
    const start = async () => {
      const replica = await startTilegate(env);
      onTestFinished(replica.stop);
      balancer.replicas.add(replica.url);
      return replica;
    };
    const [first, second] = await Promise.all([start(), start()]);

    const calls: Record<string, Call> = {};
    for (const each of [1, 2]) {
      calls[`HTTP/1.1 ${each}`] = keepAliveClient(balancer.port);
      calls[`grpc-js ${each}`] = grpcJsClient(balancer.port);
      calls[`connect ${each}`] = connectClient(balancer.port);
    }
    const load = startLoad(calls);
    await load.more(10);
    for (const replica of [first, second]) {
      replica.signal("SIGTERM");
      expect((await replica.finished).code).toBe(0);
      balancer.replicas.delete(replica.url);
      await load.more(10);
      await start();
      await load.more(10);
    }
    await load.stop();
    expect(load.failures).toEqual([]);
    // Nine processes start, one after the other.
  }, 180_000);
});
