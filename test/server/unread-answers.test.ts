import { EventEmitter, once } from "node:events";
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from "node:http2";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { expect, onTestFinished, test } from "vitest";
import { Health } from "../../src/gen/proto/grpc/health/v1/health_pb.js";
import type { HttpHandler, HttpResponse } from "../../src/server/http-handler.js";
import { connectRaw, connectRawHttp2, http2Frame, http2Request } from "./raw-client.js";
import { serve } from "./serve.js";

const RST_STREAM = 3;
const CANCEL = 8;
const ENHANCE_YOUR_CALM = 11;

const watchPath = "/grpc.health.v1.Health/Watch";
const classes = new Map([[watchPath, { maxCalls: 9, maxCallsPerConnection: 9, isEndless: true }]]);

const MAX_WINDOW = 2 ** 31 - 1;
const MORE_WINDOW = Buffer.from([0x7f, 0xff, 0, 0]);

/** Longer than a test may take. */
const NEVER_MS = 300_000;

/** More than the buffers of both machines take for a client that reads nothing. */
const hugeAnswer = Buffer.alloc(64 * 1024 * 1024);

/** A client whose streams have a window of 0 until it opens them: it reads headers and nothing else. */
function connectStarving(url: string): ClientHttp2Session {
  const session = connectHttp2(url, { settings: { initialWindowSize: 0 } });
  session.on("error", () => undefined);
  onTestFinished(() => session.destroy());
  return session;
}

function call(session: ClientHttp2Session) {
  const stream = session.request({ ":path": "/" });
  stream.on("error", () => undefined);
  return stream;
}

/** Resolves with the code that it was reset with. */
async function reset(stream: ClientHttp2Stream): Promise<number> {
  await new Promise<void>((resolve) => {
    if (stream.closed) resolve();
    else stream.once("close", resolve);
  });
  return stream.rstCode;
}

/** Tells of each answer and its end. */
function watchAnswers(handler: HttpHandler) {
  const answers = new EventEmitter();
  const observed: HttpHandler = (request, response, exchange) => {
    response.once("close", () => answers.emit("closed", request.url));
    handler(request, response, exchange);
  };
  return { observed, answers };
}

const answer: HttpHandler = (_request, response) => response.end("answer");

test("over HTTP/2, an answer that the client gives no window (window starvation) is reset in time", async () => {
  const { server } = await serve({ limits: { answerTimeoutMs: 50 }, handler: answer });
  expect(await reset(call(connectStarving(server.url)))).toBe(CANCEL);
});

test.each([
  ["whole", (response: HttpResponse) => response.end(hugeAnswer)],
  ["in part", (response: HttpResponse) => response.write(hugeAnswer)],
])(
  "over HTTP/1.1, a client that doesn't read an answer that was written %s is disconnected in time",
  async (_name, write) => {
    const { observed, answers } = watchAnswers((_request, response) => write(response));
    const { server } = await serve({ limits: { answerTimeoutMs: 50 }, handler: observed });
    const closed = once(answers, "closed");
    const raw = await connectRaw(server.port);
    raw.socket.pause();
    raw.socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await closed;
  },
);

test("calls that nobody answers end in time, over either protocol", async () => {
  const { server } = await serve({ limits: { answerTimeoutMs: 50 }, handler: () => undefined });
  const stream = call(connectStarving(server.url));
  await Promise.all([reset(stream), expect(fetch(server.url)).rejects.toThrow("fetch failed")]);
});

test("an endless call goes on beyond the deadline while its client reads it, and ends once it doesn't", async () => {
  const { server, health } = await serve({ limits: { answerTimeoutMs: 50 }, classes });
  const client = createClient(Health, createGrpcTransport({ baseUrl: server.url }));
  const reading = client.watch({})[Symbol.asyncIterator]();
  await reading.next();

  const session = connectStarving(server.url);
  const unread = session.request({
    ":method": "POST",
    ":path": watchPath,
    "content-type": "application/grpc",
  });
  unread.on("error", () => undefined);
  unread.end(Buffer.alloc(5));
  expect(await reset(unread)).toBe(CANCEL);

  health.setServing(false);
  expect((await reading.next()).value).toMatchObject({ status: 2 });
  health.shutdown();
  expect((await reading.next()).done).toBe(true);
});

/** The server looks as often as its shortest time. No other time is reached here. */
const looksOften = { idleTimeoutMs: 50 };

test.each<[string, HttpHandler]>([
  ["ended", answer],
  ["begun", (_request, response) => response.write("answer")],
])(
  "of too many answers that are %s and not read, the oldest are reset, and newcomers served",
  async (_name, handler) => {
    const { server } = await serve({ limits: { ...looksOften, maxWaitingCalls: 2 }, handler });
    const session = connectStarving(server.url);
    const [first, second, third, fourth] = [call(session), call(session), call(session), call(session)];
    expect(await Promise.all([reset(first), reset(second)])).toEqual([ENHANCE_YOUR_CALM, ENHANCE_YOUR_CALM]);
    expect([third.closed, fourth.closed]).toEqual([false, false]);
    const newcomer = await fetch(server.url);
    expect(newcomer.status).toBe(200);
    await newcomer.body?.cancel();
  },
);

test("of answers that hold too many bytes and are not read, the oldest are reset", async () => {
  const { server } = await serve({ limits: { ...looksOften, maxWaitingBytes: 15 }, handler: answer });
  const session = connectStarving(server.url);
  const [first, second, third] = [call(session), call(session), call(session)];
  expect(await reset(first)).toBe(ENHANCE_YOUR_CALM);
  expect([second.closed, third.closed]).toEqual([false, false]);
});

test("of too many requests that don't end, the oldest are reset, over either protocol", async () => {
  const { server } = await serve({ limits: { ...looksOften, maxWaitingCalls: 1 }, handler: () => undefined });
  const http1 = await connectRaw(server.port);
  http1.socket.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1");
  const http2 = await connectRawHttp2(server.port);
  http2.socket.write(http2Request(1, "/", { ends: false }));
  await http1.ended;
  http2.socket.write(http2Request(3, "/", { ends: false }));
  const { streamId, payload } = await http2.receivesFrame(({ type }) => type === RST_STREAM);
  expect([streamId, payload.readUInt32BE()]).toEqual([1, ENHANCE_YOUR_CALM]);
});

test("a client that reads nothing at all, not even that its answer was reset, is disconnected", async () => {
  const { observed, answers } = watchAnswers((_request, response) => response.end(hugeAnswer));
  const { server } = await serve({ limits: { answerTimeoutMs: 50 }, handler: observed });
  const closed = once(answers, "closed");
  const raw = await connectRawHttp2(server.port, { initialWindowBytes: MAX_WINDOW });
  raw.socket.pause();
  raw.socket.write(Buffer.concat([http2Frame(8, 0, 0, MORE_WINDOW), http2Request(1, "/")]));
  await closed;
  // Its connection is gone as well: nothing is left to wait for.
  await server.close({ graceMs: NEVER_MS });
});
