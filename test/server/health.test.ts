import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { Health, HealthCheckResponse_ServingStatus } from "../../src/gen/proto/grpc/health/v1/health_pb.js";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { serve } from "./serve.js";

const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;
const service = TileTokenService.typeName;

async function start() {
  const { server, health } = await serve();
  return { health, client: createClient(Health, createGrpcTransport({ baseUrl: server.url })) };
}

test("the server and its services share one status", async () => {
  const { client, health } = await start();
  for (const [serving, status] of [
    [false, NOT_SERVING],
    [true, SERVING],
  ] as const) {
    health.setServing(serving);
    expect(await client.check({})).toMatchObject({ status });
    expect(await client.check({ service })).toMatchObject({ status });
    expect((await client.list({})).statuses).toMatchObject({ "": { status }, [service]: { status } });
  }
});

test("an unknown service is not found by Check", async () => {
  const { client } = await start();
  await expect(client.check({ service: "no.Such" })).rejects.toMatchObject({ code: Code.NotFound });
});

test("a watcher gets the status at once and then each change, once", async () => {
  const { client, health } = await start();
  const watch = client.watch({ service })[Symbol.asyncIterator]();
  expect((await watch.next()).value).toMatchObject({ status: SERVING });
  health.setServing(true);
  health.setServing(false);
  expect((await watch.next()).value).toMatchObject({ status: NOT_SERVING });
  health.setServing(true);
  expect((await watch.next()).value).toMatchObject({ status: SERVING });
  await watch.return?.();
});

test("a watcher of an unknown service is told so and stays connected until shutdown", async () => {
  const { client, health } = await start();
  const watch = client.watch({ service: "no.Such" })[Symbol.asyncIterator]();
  expect((await watch.next()).value).toMatchObject({ status: SERVICE_UNKNOWN });
  let ended = false;
  const next = watch.next().then(({ done }) => {
    ended = done === true;
  });
  health.setServing(false);
  // A later call on the same connection, answered, shows that the change did not end the stream.
  await client.check({});
  expect(ended).toBe(false);
  health.shutdown();
  await next;
  expect(ended).toBe(true);
});

test("after shutdown the status stays not serving, also for a new watcher", async () => {
  const { client, health } = await start();
  health.shutdown();
  health.setServing(true);
  expect(await client.check({})).toMatchObject({ status: NOT_SERVING });
  const statuses: HealthCheckResponse_ServingStatus[] = [];
  for await (const { status } of client.watch({})) statuses.push(status);
  expect(statuses).toEqual([NOT_SERVING]);
});

test("a request is as long as a service's name may be: 4 KiB", async () => {
  const { client } = await start();
  const tooLong = { service: "x".repeat(4_100) };
  await expect(client.check(tooLong)).rejects.toMatchObject({ code: Code.ResourceExhausted });
  const watch = client.watch(tooLong)[Symbol.asyncIterator]();
  await expect(watch.next()).rejects.toMatchObject({ code: Code.ResourceExhausted });
});
