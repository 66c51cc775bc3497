import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { Health, HealthCheckResponse_ServingStatus } from "../../src/gen/proto/grpc/health/v1/health_pb.js";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { startServer } from "../../src/server/server.js";
import { connectRaw, http2EmptySettings, http2Preface } from "./raw-client.js";
import { createCertificate, createGate, datasetId, getPath, serve } from "./serve.js";

/** Longer than a test may take: a close that needs it fails. */
const graceMs = 300_000;

const slowRequest = (url: string) =>
  fetch(url + getPath, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ datasetId }),
  });
const getRequest = "GET /none HTTP/1.1\r\nHost: a\r\n\r\n";

test("calls in flight finish, over HTTP/1.1 and gRPC, before close resolves; newcomers are refused", async () => {
  const { server, inFlight, release } = await serve();
  const order: string[] = [];
  const grpc = createClient(TileTokenService, createGrpcTransport({ baseUrl: server.url }));
  const http1Call = slowRequest(server.url);
  const grpcCall = grpc.getTileToken({ datasetId });
  await inFlight(2);

  const closed = server.close({ graceMs }).then(() => order.push("closed"));
  await expect(connectRaw(server.port)).rejects.toThrow("ECONNREFUSED");
  order.push("released");
  release();

  const response = await http1Call;
  expect(response.status).toBe(200);
  expect(response.headers.get("connection")).toBe("close");
  expect((await grpcCall).token.value?.scope).toBe(datasetId);
  await closed;
  expect(order).toEqual(["released", "closed"]);
});

test("the same over TLS", async () => {
  const tls = await createCertificate();
  const { server, inFlight, release } = await serve({ tls });
  const options = { baseUrl: server.url, nodeOptions: { ca: tls.cert } };
  const calls = [
    createClient(TileTokenService, createConnectTransport({ ...options, httpVersion: "1.1" })),
    createClient(TileTokenService, createGrpcTransport(options)),
  ].map((client) => client.getTileToken({ datasetId }));
  await inFlight(2);
  const closed = server.close({ graceMs });
  release();
  await expect(Promise.all(calls)).resolves.toHaveLength(2);
  await closed;
});

test("a response that has begun is finished and its connection closed", async () => {
  const gate = createGate();
  const { server } = await serve({
    async handler(_request, response) {
      response.write("first ");
      await gate.passed;
      response.end("last");
    },
  });
  const raw = await connectRaw(server.port);
  raw.socket.write(getRequest);
  await raw.receives("first ");
  const idle = await connectRaw(server.port);
  const closed = server.close({ graceMs });
  await idle.ended;
  gate.open();
  expect(await raw.ended).toContain("last");
  await closed;
});

test("an HTTP/2 client is told by GOAWAY, and its call still finishes", async () => {
  const { server, inFlight, release } = await serve();
  const session = connectHttp2(server.url);
  const stream = session.request({
    ":method": "POST",
    ":path": getPath,
    "content-type": "application/json",
  });
  stream.end(JSON.stringify({ datasetId }));
  await inFlight(1);
  const response = once(stream, "response");
  const sessionClosed = once(session, "close");

  const goaway = once(session, "goaway");
  const closed = server.close({ graceMs });
  expect((await goaway)[0]).toBe(0);
  release();
  expect((await response)[0][":status"]).toBe(200);
  stream.resume();
  await sessionClosed;
  await closed;
});

test("idle and silent connections do not delay close", async () => {
  const { server } = await serve();
  const idle = await connectRaw(server.port);
  idle.socket.write(getRequest);
  await idle.receives("404");
  const silent = await connectRaw(server.port);
  const idleHttp2 = connectHttp2(server.url);
  await once(idleHttp2, "remoteSettings");

  await server.close({ graceMs });
  await Promise.all([idle.ended, silent.ended]);
});

test("a silent TLS connection does not delay close, neither before its handshake nor after it", async () => {
  const tls = await createCertificate();
  const { server } = await serve({ tls });
  await connectRaw(server.port);
  const shaken = connectTls({ port: server.port, host: "127.0.0.1", ca: tls.cert });
  await once(shaken, "secureConnect");
  shaken.on("error", () => undefined);
  await server.close({ graceMs });
});

test("a request that had arrived when closing began is answered", async () => {
  const { server } = await serve();
  const raw = await connectRaw(server.port);
  raw.socket.write(getRequest);
  await raw.receives("404");
  raw.socket.write("GET /second HTTP/1.1\r\nHost: a\r\n\r\n");
  await server.close({ graceMs });
  expect(await raw.ended).toMatch(/404.+404.+Connection: close/s);
});

test("a peer that does not close when told to does not hold its connection until the grace ends", async () => {
  const { server } = await serve();
  const http2 = await connectRaw(server.port);
  http2.socket.write(Buffer.concat([http2Preface, http2EmptySettings]));
  await once(http2.socket, "data");
  const refused = await connectRaw(server.port);
  refused.socket.write("garbage\r\n\r\n");
  expect(await refused.ended).toContain("400");
  await server.close({ graceMs });
});

test("a TLS handshake that ends while closing does not delay close", async () => {
  const tls = await createCertificate();
  const { server } = await serve({ tls });
  const raw = await connectRaw(server.port);
  // Client and server hello pass; the client's last message waits for the gate.
  const gate = createGate();
  let messages = 0;
  const socket = new Duplex({
    read: () => undefined,
    async write(chunk, _encoding, done) {
      messages += 1;
      if (messages > 1) await gate.passed;
      raw.socket.write(chunk, done);
    },
  });
  raw.socket.on("data", (chunk) => socket.push(chunk));
  const client = connectTls({ socket, ca: tls.cert, servername: "localhost" });
  client.on("error", () => undefined);
  await once(client, "secureConnect");

  const silent = await connectRaw(server.port);
  const closed = server.close({ graceMs });
  await silent.ended;
  gate.open();
  await closed;
});

test.each([0, 20])("stuck calls are ended after a grace of %i ms", async (graceMs) => {
  const { server, inFlight } = await serve();
  const grpc = createClient(TileTokenService, createGrpcTransport({ baseUrl: server.url }));
  const calls = Promise.allSettled([slowRequest(server.url), grpc.getTileToken({ datasetId })]);
  await inFlight(2);
  await server.close({ graceMs });
  expect((await calls).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
});

test("a second close with a shorter grace shortens the first", async () => {
  const { server, inFlight } = await serve();
  const call = slowRequest(server.url).catch((error: unknown) => error);
  await inFlight(1);
  const first = server.close({ graceMs });
  await server.close({ graceMs: 0 });
  await first;
  expect(await call).toBeInstanceOf(Error);
});

test("health watchers end at shutdown, after the last status", async () => {
  const { server, health } = await serve();
  const client = createClient(Health, createGrpcTransport({ baseUrl: server.url }));
  const statuses: HealthCheckResponse_ServingStatus[] = [];
  for await (const { status } of client.watch({})) {
    statuses.push(status);
    if (statuses.length === 1) health.shutdown();
  }
  const { SERVING, NOT_SERVING } = HealthCheckResponse_ServingStatus;
  expect(statuses).toEqual([SERVING, NOT_SERVING]);
  await server.close({ graceMs });
});

test("a port that is taken is an error", async () => {
  const { server } = await serve();
  await expect(
    startServer({ host: "127.0.0.1", port: server.port, handler: () => undefined }),
  ).rejects.toThrow("EADDRINUSE");
});
