import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect as connectTls } from "node:tls";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { describe, expect, onTestFinished, test } from "vitest";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import type { HttpHandler } from "../../src/server/http-handler.js";
import { connectRaw, connectRawHttp2, http2Request } from "./raw-client.js";
import { createCertificate, createGate, datasetId, getPath, serve } from "./serve.js";

const getRequest = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

const END_STREAM = 1;
const HEADERS = 1;
const RST_STREAM = 3;
const GOAWAY = 7;
const ENHANCE_YOUR_CALM = 11;

/** A server that has room for one call, with one in flight. */
async function serveFull() {
  const served = await serve({ limits: { maxCalls: 1 } });
  const transport = createGrpcTransport({ baseUrl: served.server.url });
  const first = createClient(TileTokenService, transport).getTileToken({ datasetId });
  // Where it is not released, it ends with its server.
  first.catch(() => undefined);
  await served.inFlight(1);
  return { ...served, first };
}

describe("more calls than there is room for", () => {
  test.each([
    ["Connect over HTTP/1.1", (baseUrl: string) => createConnectTransport({ baseUrl, httpVersion: "1.1" })],
    ["Connect over HTTP/2", (baseUrl: string) => createConnectTransport({ baseUrl, httpVersion: "2" })],
    ["gRPC", (baseUrl: string) => createGrpcTransport({ baseUrl })],
    ["gRPC-Web over HTTP/1.1", (baseUrl: string) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" })],
    ["gRPC-Web over HTTP/2", (baseUrl: string) => createGrpcWebTransport({ baseUrl, httpVersion: "2" })],
  ])("%s: RESOURCE_EXHAUSTED, and served once there is room again", async (_name, transport) => {
    const { server, release, first } = await serveFull();
    const client = createClient(TileTokenService, transport(server.url));
    const error = await client.getTileToken({ datasetId }).catch(ConnectError.from);
    expect(error).toMatchObject({ code: Code.ResourceExhausted, rawMessage: "too many calls at once" });
    expect((error as ConnectError).metadata.get("retry-after")).toBe("1");
    release();
    await first;
    await client.getTileToken({ datasetId });
  });

  test("REST: 503 with a problem and when to come back", async () => {
    const { server } = await serveFull();
    const response = await fetch(`${server.url}/tiles`);
    expect(response.status).toBe(503);
    expect(response.headers.get("retry-after")).toBe("1");
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    expect(await response.json()).toEqual({
      type: "about:blank",
      title: "Service Unavailable",
      status: 503,
      detail: "too many calls at once",
    });
  });

  test("a refusal does not wait for the client's window, but does without its body", async () => {
    const { server } = await serveFull();
    const raw = await connectRawHttp2(server.port, { initialWindowBytes: 0 });
    raw.socket.write(http2Request(1, "/tiles"));
    const { flags } = await raw.receivesFrame(({ type }) => type === HEADERS);
    expect(flags & END_STREAM).toBe(END_STREAM);
  });

  test("a body that nobody will read is not taken in, over either protocol", async () => {
    const { server } = await serveFull();
    const http2 = await connectRawHttp2(server.port);
    http2.socket.write(http2Request(1, "/tiles", { ends: false }));
    const { payload } = await http2.receivesFrame(({ type }) => type === RST_STREAM);
    expect(payload.readUInt32BE()).toBe(0);

    const http1 = await connectRaw(server.port);
    http1.socket.write("POST /tiles HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1");
    expect(await http1.ended).toMatch(/^HTTP\/1\.1 503 .+Connection: close/s);
  });

  test("a class of calls has limits of its own, for each connection and in all", async () => {
    const callClass = { maxCalls: 3, maxCallsPerConnection: 2, isEndless: false };
    const { server, inFlight, release } = await serve({ classes: new Map([[getPath, callClass]]) });
    const connect = () => createClient(TileTokenService, createGrpcTransport({ baseUrl: server.url }));
    const [one, other] = [connect(), connect()];
    const get = (client: typeof one) => client.getTileToken({ datasetId });
    const code = (client: typeof one) =>
      get(client).then(
        () => undefined,
        ({ code }: ConnectError) => code,
      );

    const served = [get(one), get(one)];
    await inFlight(2);
    expect(await code(one)).toBe(Code.ResourceExhausted);
    served.push(get(other));
    await inFlight(3);
    expect(await code(other)).toBe(Code.ResourceExhausted);
    await other.batchGetTileTokens({ datasetIds: [datasetId] });
    release();
    await Promise.all(served);
    await Promise.all([get(one), get(other)]);
  });

  test.each(["1.1", "2"] as const)(
    "over HTTP/%s, a client that has read an answer finds a place where new ones find none",
    async (httpVersion) => {
      const { server, inFlight, release } = await serve({ limits: { maxCalls: 10 } });
      const known = createClient(
        TileTokenService,
        createConnectTransport({ baseUrl: server.url, httpVersion }),
      );
      const connect = () => createClient(TileTokenService, createGrpcTransport({ baseUrl: server.url }));
      await known.batchGetTileTokens({ datasetIds: [datasetId] });
      const served: Promise<unknown>[] = [];
      while (served.length < 9) {
        served.push(connect().getTileToken({ datasetId }));
        await inFlight(served.length);
      }
      const error = await connect().getTileToken({ datasetId }).catch(ConnectError.from);
      expect(error).toMatchObject({ code: Code.ResourceExhausted });
      served.push(known.getTileToken({ datasetId }));
      await inFlight(10);
      release();
      await Promise.all(served);
    },
  );

  test("one connection takes no more than a share of the room that is left, so that others find a place", async () => {
    const { server, inFlight, release } = await serve({ limits: { maxCalls: 30 } });
    const connect = () => createClient(TileTokenService, createGrpcTransport({ baseUrl: server.url }));
    const [greedy, modest] = [connect(), connect()];
    const outcomes = Array.from({ length: 30 }, () =>
      greedy.getTileToken({ datasetId }).then(
        () => "served",
        ({ code }: ConnectError) => Code[code],
      ),
    );
    // Half of what is left: 10 of 30.
    await inFlight(10);
    const served = [modest.getTileToken({ datasetId }), modest.getTileToken({ datasetId })];
    await inFlight(12);
    release();
    await Promise.all(served);
    expect((await Promise.all(outcomes)).toSorted()).toEqual([
      ...Array(20).fill("ResourceExhausted"),
      ...Array(10).fill("served"),
    ]);
  });

  test("a flood on a connection that never got an answer ends it; other clients' calls are refused one by one", async () => {
    const limits = { maxCalls: 1, maxConcurrentStreams: 1_000 };
    const handler: HttpHandler = ({ url }, response) => {
      if (url === "/") response.end();
    };
    const { server } = await serve({ limits, handler });
    const ids = Array.from({ length: 900 }, (_, index) => 3 + 2 * index);
    const flood = Buffer.concat(ids.map((id) => http2Request(id, "/waits")));
    const client = await connectRawHttp2(server.port);
    client.socket.write(http2Request(1, "/"));
    await client.receivesFrame(({ streamId }) => streamId === 1);
    client.socket.write(flood);
    await client.receivesFrame(({ streamId }) => streamId === ids.at(-1));
    const stranger = await connectRawHttp2(server.port);
    stranger.socket.write(flood);
    await stranger.ended;
    expect(client.frames.some(({ type }) => type === GOAWAY)).toBe(false);
  });

  test("calls that were cut off behind another one on their connection (pipelining) leave their room", async () => {
    const gates = [createGate(), createGate()];
    const [both, third] = gates.map(({ passed }) => passed);
    let calls = 0;
    const { server } = await serve({
      limits: { maxCalls: 2, idleTimeoutMs: 50 },
      handler(request, response) {
        if (request.url === "/free") response.end();
        else calls += 1;
        if (calls >= 2) gates[calls - 2]?.open();
      },
    });
    const cutOff = await connectRaw(server.port);
    cutOff.socket.write(getRequest.repeat(2));
    await both;
    cutOff.socket.destroy();
    const room = () => fetch(`${server.url}/free`).then(({ status }) => status);
    await expect.poll(room).toBe(200);
    // It takes the room of the one in front.
    const held = await connectRaw(server.port);
    held.socket.write(getRequest);
    await third;
    await expect.poll(room).toBe(200);
  });
});

describe("more connections than there is room for", () => {
  const limits = { maxConnections: 1 };

  async function serveOneConnection(tls?: Awaited<ReturnType<typeof createCertificate>>) {
    const { server } = await serve({ limits, tls });
    const only = connectTcpOrTls(server.url, tls?.cert);
    await once(only, "remoteSettings");
    return { server, only };
  }

  function connectTcpOrTls(url: string, ca?: Buffer) {
    const session = connectHttp2(url, { ca });
    onTestFinished(() => session.destroy());
    return session;
  }

  test("HTTP/1.1: 503 and when to come back; once another has gone, served", async () => {
    const { server, only } = await serveOneConnection();
    const refused = await connectRaw(server.port);
    refused.socket.write(getRequest);
    expect(await refused.ended).toMatch(/^HTTP\/1\.1 503 .+Connection: close\r\nRetry-After: 1\r\n/s);
    only.destroy();
    refused.socket.destroy();
    const status = () => fetch(server.url).then((response) => response.status);
    await expect.poll(status).toBe(404);
  });

  test("HTTP/2: GOAWAY", async () => {
    const { server } = await serveOneConnection();
    const refused = await connectRawHttp2(server.port);
    const { payload } = await refused.receivesFrame(({ type }) => type === GOAWAY);
    expect([payload.readUInt32BE(0), payload.readUInt32BE(4)]).toEqual([0, ENHANCE_YOUR_CALM]);
    await refused.ended;
    const session = connectTcpOrTls(server.url);
    const [error] = await once(session, "error");
    expect(error).toMatchObject({ code: "ERR_HTTP2_SESSION_ERROR" });
  });

  test("one that says nothing is closed soon", async () => {
    const { server } = await serveOneConnection();
    await (await connectRaw(server.port)).ended;
  });

  test("TLS: closed before its handshake", async () => {
    const tls = await createCertificate();
    const { server } = await serveOneConnection(tls);
    const refused = connectTls({ port: server.port, host: "127.0.0.1", ca: tls.cert });
    const [error] = await once(refused, "error");
    expect(error).toMatchObject({ code: "ECONNRESET" });
  });
});
