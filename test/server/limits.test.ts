import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, test, vi } from "vitest";
import { Health } from "../../src/gen/proto/grpc/health/v1/health_pb.js";
import type { HttpHandler } from "../../src/server/http-handler.js";
import { defaultLimits } from "../../src/server/limits.js";
import {
  connectRaw,
  connectRawHttp2,
  type Http2Frame,
  http2EmptySettings,
  http2Frame,
  http2HeaderBlock,
  http2Preface,
  http2Request,
} from "./raw-client.js";
import { batchPath, createCertificate, serve } from "./serve.js";

/** HEADERS with END_STREAM and END_HEADERS: GET / over http, from the static table (RFC 7541). */
const http2GetHeaders = Buffer.from([0x82, 0x84, 0x86]);

async function expectStillServing(url: string) {
  const { status } = await createClient(Health, createGrpcTransport({ baseUrl: url })).check({});
  expect(status).toBe(1);
}

type RawHttp2 = Awaited<ReturnType<typeof connectRawHttp2>>;

const isPing = ({ type, flags }: Http2Frame) => type === 6 && flags === 0;

/** Sends one byte of a field at a time, in CONTINUATION frames. */
function drip({ socket }: RawHttp2): void {
  const next = () => {
    if (socket.writable) socket.write(http2Frame(9, 0, 1, Buffer.from([0])), () => setImmediate(next));
  };
  next();
}

/** As an attentive client does it, which must not do so inside a header block. */
function answerPings({ socket, frames }: RawHttp2): void {
  let answered = 0;
  socket.on("data", () => {
    const pings = frames.filter(isPing);
    for (const { payload } of pings.slice(answered)) socket.write(http2Frame(6, 1, 0, payload));
    answered = pings.length;
  });
}

describe("slow clients (slow loris)", () => {
  const limits = { headersTimeoutMs: 50, requestTimeoutMs: 50 };

  test.each([
    ["nothing", ""],
    ["two of the first three bytes", "PR"],
    ["an HTTP/2 preface without settings", http2Preface],
  ])("one that sends %s is dropped", async (_name, bytes) => {
    const { server } = await serve({ limits });
    const raw = await connectRaw(server.port);
    raw.socket.write(bytes);
    await raw.ended;
  });

  test.each([
    ["half a request line", "GET / HT"],
    ["headers without an end", "GET / HTTP/1.1\r\nHost: a\r\nX: "],
    ["less of a body than it announced", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1"],
  ])("one that sends %s is answered 408 and dropped", async (_name, bytes) => {
    const { server } = await serve({ limits, handler: () => undefined });
    const raw = await connectRaw(server.port);
    raw.socket.write(bytes);
    expect(await raw.ended).toBe(
      "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    );
  });

  test("one that does not begin its TLS handshake is dropped", async () => {
    const { server } = await serve({ limits, tls: await createCertificate() });
    await (await connectRaw(server.port)).ended;
  });

  test("one that ends its side before a request is dropped at once", async () => {
    const { server } = await serve({ limits: { headersTimeoutMs: 300_000, requestTimeoutMs: 300_000 } });
    const raw = await connectRaw(server.port);
    raw.socket.end("P");
    await raw.ended;
  });

  test("one that resets its connection before a request disturbs no other", async () => {
    const { server } = await serve();
    const raw = await connectRaw(server.port);
    raw.socket.resetAndDestroy();
    await expectStillServing(server.url);
  });

  test.each([
    ["nothing more", () => undefined],
    ["more of it now and then", (raw: RawHttp2) => drip(raw)],
    ["more of it as long as pings are answered", (raw: RawHttp2) => answerPings(raw)],
  ])("one that begins a header block over HTTP/2 and sends %s is dropped", async (_name, goOn) => {
    const { server } = await serve({ limits });
    const raw = await connectRawHttp2(server.port);
    raw.socket.write(http2Frame(1, 1, 1, http2GetHeaders));
    goOn(raw);
    await raw.ended;
  });

  test("one that begins a header block right behind its answer to a ping is dropped", async () => {
    const { server } = await serve({ limits });
    const raw = await connectRawHttp2(server.port);
    const { payload } = await raw.receivesFrame(isPing);
    raw.socket.write(Buffer.concat([http2Frame(6, 1, 0, payload), http2Frame(1, 1, 1, http2GetHeaders)]));
    await raw.ended;
  });

  test("an HTTP/2 client that does nothing is asked once whether it is there", async () => {
    const { server } = await serve({ limits });
    const raw = await connectRawHttp2(server.port);
    answerPings(raw);
    await raw.receivesFrame(isPing);
    // Another connection, opened later, has run into its limit.
    await (await connectRaw(server.port)).ended;
    expect(raw.frames.filter(isPing)).toHaveLength(1);
    raw.socket.write(http2Request(1, "/"));
    await raw.receivesFrame(({ type }) => type === 1);
  });

  test("an HTTP/2 call whose request does not end is reset", async () => {
    const { server } = await serve({ limits });
    const session = connectHttp2(server.url);
    const stream = session.request({
      ":method": "POST",
      ":path": batchPath,
      "content-type": "application/grpc",
    });
    stream.write("1");
    await once(stream, "close");
    expect(stream.rstCode).toBe(8);
    session.close();
  });

  test("a response may take longer than a request", async () => {
    const { server, health } = await serve({ limits });
    const client = createClient(Health, createGrpcTransport({ baseUrl: server.url }));
    const watch = client.watch({})[Symbol.asyncIterator]();
    await watch.next();
    // By now the other call, begun later, has run into its limit.
    const raw = await connectRaw(server.port);
    await raw.ended;
    health.setServing(false);
    expect((await watch.next()).value).toMatchObject({ status: 2 });
    health.shutdown();
    expect((await watch.next()).done).toBe(true);
  });
});

describe("idle connections", () => {
  const limits = { idleTimeoutMs: 50 };

  test("an HTTP/1.1 connection is closed", async () => {
    const { server } = await serve({ limits });
    const raw = await connectRaw(server.port);
    raw.socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    expect(await raw.ended).toContain("404");
  });

  test("an HTTP/2 connection gets GOAWAY, also if it pings", async () => {
    const { server } = await serve({ limits });
    const session = connectHttp2(server.url);
    await once(session, "remoteSettings");
    const pingOn = () => session.ping((error) => !error && !session.closed && pingOn());
    pingOn();
    const [code] = await once(session, "goaway");
    expect(code).toBe(0);
  });

  test("an HTTP/2 connection with a quiet call in flight is not idle", async () => {
    const { server, inFlight, release } = await serve({ limits });
    const session = connectHttp2(server.url);
    const stream = session.request({
      ":method": "POST",
      ":path": "/tilegate.v1.TileTokenService/GetTileToken",
      "content-type": "application/json",
    });
    stream.end("{}");
    await inFlight(1);
    const goaway = vi.fn();
    session.once("goaway", goaway);
    // Another connection, opened later, has been found idle by now.
    const other = connectHttp2(server.url);
    await once(other, "goaway");
    release();
    const [headers] = await once(stream, "response");
    expect(headers[":status"]).toBe(200);
    expect(goaway).not.toHaveBeenCalled();
    stream.resume();
    await once(session, "close");
  });
});

describe("malformed and oversize requests", () => {
  test.each([
    ["garbage", "\u0000\u0001\u0002 not http\r\n\r\n", 400],
    ["a broken request line", "GET\r\n\r\n", 400],
    ["an HTTP/1.1 request without Host", "GET / HTTP/1.1\r\n\r\n", 400],
    [
      "both lengths (request smuggling)",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      400,
    ],
    ["100 KB of headers", `GET / HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(100_000)}\r\n\r\n`, 431],
    ["100 KB of path", `GET /${"x".repeat(100_000)} HTTP/1.1\r\nHost: a\r\n\r\n`, 431],
    [
      "a chunk extension without end",
      `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;${"x".repeat(100_000)}`,
      413,
    ],
  ])("%s is answered without a body and the connection closed", async (_name, bytes, status) => {
    const onError = vi.fn();
    const { server } = await serve({ onError, handler: (request) => request.resume() });
    const raw = await connectRaw(server.port);
    raw.socket.write(bytes, "latin1");
    expect(await raw.ended).toMatch(
      new RegExp(`^HTTP/1\\.1 ${status} [^\\r]+\\r\\n([^\\r]+\\r\\n)+\\r\\n(0\\r\\n\\r\\n)?$`),
    );
    expect(onError).not.toHaveBeenCalled();
  });

  test("garbage after the HTTP/2 preface closes the connection, and no other", async () => {
    const { server } = await serve();
    const raw = await connectRaw(server.port);
    raw.socket.write(Buffer.concat([http2Preface, Buffer.alloc(1_000, "garbage")]));
    await raw.ended;
    await expectStillServing(server.url);
  });

  test("garbage instead of a TLS handshake closes the connection", async () => {
    const { server } = await serve({ tls: await createCertificate() });
    const raw = await connectRaw(server.port);
    raw.socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await raw.ended;
  });

  test("100 KB of headers over HTTP/2 is answered 431, also before the client knows the limit", async () => {
    const { server } = await serve();
    const session = connectHttp2(server.url, { maxSendHeaderBlockLength: 200_000 });
    const stream = session.request({ ":path": "/", x: "x".repeat(60_000) });
    const [headers] = await once(stream, "response");
    expect(headers[":status"]).toBe(431);
    stream.resume();
    session.close();
  });

  // Node 20 drops such a field and tells nobody.
  test.skipIf(process.version.startsWith("v20."))(
    "over HTTP/2 a field with a blank at its end arrives, so that a credential never makes an anonymous call",
    async () => {
      const handler = vi.fn<HttpHandler>((_request, response) => response.end());
      const { server } = await serve({ handler });
      const raw = await connectRawHttp2(server.port);
      const block = {
        ...{ ":method": "GET", ":scheme": "http", ":authority": "a", ":path": "/" },
        "x-api-key": "tgk_garbage ",
      };
      raw.socket.write(http2Frame(1, 5, 1, http2HeaderBlock(block)));
      await raw.receivesFrame(({ type }) => type === 1);
      expect(handler.mock.calls[0]?.[0].headers["x-api-key"]).toBe("tgk_garbage ");
    },
  );

  test.each([
    ["no Host (HTTP/1.0)", `POST ${batchPath} HTTP/1.0\r\nContent-Type: application/json\r\n\r\n`],
    ["a Host that is none", `POST ${batchPath} HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n`],
  ])("%s is the client's fault, and does not end the process", async (_name, bytes) => {
    const onError = vi.fn();
    const { server } = await serve({ onError });
    const raw = await connectRaw(server.port);
    raw.socket.write(bytes);
    expect(await raw.ended).toMatch(/^HTTP\/1\.1 400 /);
    expect(onError).not.toHaveBeenCalled();
    await expectStillServing(server.url);
  });

  test("a handler that throws is answered 500 without its message, and reported", async () => {
    const failure = new Error("secret");
    const onError = vi.fn();
    const handler = () => {
      throw failure;
    };
    const { server } = await serve({ onError, handler });
    const response = await fetch(server.url);
    expect(response.status).toBe(500);
    expect(await response.text()).toBe("");
    expect(onError).toHaveBeenCalledExactlyOnceWith(failure);
  });
});

describe("many streams", () => {
  test("a client is told how many calls may be open, and how large headers may be", async () => {
    const { server } = await serve();
    const session = connectHttp2(server.url);
    const [settings] = await once(session, "remoteSettings");
    expect(settings).toMatchObject({
      maxConcurrentStreams: defaultLimits.maxConcurrentStreams,
      maxHeaderListSize: defaultLimits.maxHeaderBytes,
    });
    session.close();
  });

  test("a rapid reset (CVE-2023-44487) ends the connection, and no other", async () => {
    const { server } = await serve();
    const raw = await connectRaw(server.port);
    const frames = [http2Preface, http2EmptySettings];
    for (let id = 1; id < 8_000; id += 2) {
      frames.push(http2Frame(1, 5, id, http2GetHeaders), http2Frame(3, 0, id, Buffer.from([0, 0, 0, 8])));
    }
    raw.socket.write(Buffer.concat(frames));
    await raw.ended;
    await expectStillServing(server.url);
  });

  test.each([
    ["CANCEL", 8],
    ["an error", 1],
  ])("a request that is reset as it comes, with %s, makes no work", async (_name, code) => {
    const handler = vi.fn<HttpHandler>((_request, response) => response.end());
    const { server } = await serve({ handler });
    const raw = await connectRawHttp2(server.port);
    await raw.receivesFrame(({ type }) => type === 4);
    const reset = (id: number) => http2Frame(3, 0, id, Buffer.from([0, 0, 0, code]));
    const whole = Buffer.concat([http2Request(1, "/reset"), reset(1)]);
    const partial = Buffer.concat([
      http2Request(3, "/reset", { ends: false }),
      http2Frame(0, 0, 3, Buffer.from("half a bo")),
      reset(3),
    ]);
    raw.socket.write(Buffer.concat([whole, partial, http2Request(5, "/kept")]));
    await raw.receivesFrame(({ type, streamId }) => type === 1 && streamId === 5);
    expect(handler.mock.calls.map(([{ url }]) => url)).toEqual(["/kept"]);
  });

  test("a flood of pings whose answers are not read ends the connection, and no other", async () => {
    const { server } = await serve();
    const raw = await connectRaw(server.port);
    raw.socket.pause();
    const pings = Buffer.concat(Array.from({ length: 10_000 }, () => http2Frame(6, 0, 0, Buffer.alloc(8))));
    raw.socket.write(Buffer.concat([http2Preface, http2EmptySettings]));
    const flood = () => raw.socket.write(pings, (error) => !error && flood());
    flood();
    await raw.ended;
    await expectStillServing(server.url);
  });
});
