import { once } from "node:events";
import {
  type ClientHttp2Stream,
  connect as connectHttp2,
  constants,
  type OutgoingHttpHeaders,
} from "node:http2";
import { connect as connectTcp } from "node:net";
import { buffer } from "node:stream/consumers";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, onTestFinished, test } from "vitest";
import { grpcFrame } from "../../harness/grpc-frame.mjs";
import { answerMessages } from "../../src/server/message-stream.js";
import { receivedIsRead } from "../../src/server/received.js";
import { startServer } from "../../src/server/server.js";

type Reply = (message: Buffer) => readonly Uint8Array[];

const echo: Reply = (message) => [message.subarray(0, 1), message.subarray(1)];

/** A server that answers messages of at most 10 bytes, and a client of it whose streams take nothing until `readAll`. */
async function serveMessages(reply: Reply) {
  let replies = 0;
  const server = await startServer({
    host: "127.0.0.1",
    port: 0,
    handler(request, response) {
      answerMessages(request, response, {
        maxMessageBytes: 10,
        reply(message) {
          replies += 1;
          return reply(message);
        },
      });
    },
  });
  onTestFinished(() => server.close({ graceMs: 0 }));
  const session = connectHttp2(server.url, { settings: { initialWindowSize: 0 } });
  session.on("error", () => undefined);
  onTestFinished(() => session.destroy());
  /** A ping that is answered comes after all that was written before it. */
  async function isServed() {
    await new Promise((resolve) => session.ping(resolve));
    await receivedIsRead();
  }
  return {
    server,
    replies: () => replies,
    open: (headers: OutgoingHttpHeaders = {}) =>
      session.request({ ":method": "POST", "content-type": "application/grpc", ...headers }),
    readAll: () => session.settings({ initialWindowSize: 2 ** 31 - 1 }),
    /** Resolves once the server has read these bytes, and done with them what it does at once. */
    async send(stream: ClientHttp2Stream, bytes: Uint8Array) {
      await new Promise((written) => stream.write(bytes, written));
      await isServed();
    },
    isServed,
  };
}

/** What a stream of these bytes is answered. */
async function ask(chunks: readonly Uint8Array[], headers?: OutgoingHttpHeaders) {
  const { open, readAll } = await serveMessages(echo);
  readAll();
  const stream = open(headers);
  const answer: { headers: Record<string, unknown>; trailers: Record<string, unknown> } = {
    headers: {},
    trailers: {},
  };
  stream.on("response", (received) => Object.assign(answer.headers, received));
  stream.on("trailers", (received) => Object.assign(answer.trailers, received));
  for (const chunk of chunks) stream.write(chunk);
  stream.end();
  return { body: await buffer(stream), ...answer };
}

const frame = (message: string, flags = 0) => grpcFrame(Buffer.from(message), { flags });

const OK = 0;
const COMPRESSED = 1;

const messages = Buffer.concat([frame("one"), frame(""), frame("two")]);

test("messages are answered one by one, wherever the client's bytes are cut", async () => {
  const whole = await ask([messages]);
  expect(whole.body).toEqual(messages);
  expect(whole.trailers).toMatchObject({ "grpc-status": "0" });

  const { open, readAll, send } = await serveMessages(echo);
  readAll();
  const stream = open();
  for (const byte of messages) {
    await send(stream, Buffer.of(byte));
  }
  stream.end();
  expect(await buffer(stream)).toEqual(messages);
});

test("a message is answered before the next is sent: a client may wait for it", async () => {
  const { open, readAll } = await serveMessages(echo);
  readAll();
  const stream = open();
  for (const message of ["one", "two"]) {
    stream.write(frame(message));
    const [answer] = await once(stream, "data");
    expect(answer).toEqual(frame(message));
  }
  stream.end();
});

test("a stream without messages ends well", async () => {
  const { body, trailers } = await ask([]);
  expect(body).toHaveLength(0);
  expect(trailers).toMatchObject({ "grpc-status": String(OK) });
});

test.each([
  [
    "a message that is too long, before it has come",
    frame("x".repeat(11)).subarray(0, 5),
    Code.ResourceExhausted,
  ],
  ["a message that is cut off", frame("one").subarray(0, 7), Code.InvalidArgument],
  ["unknown flags", frame("one", 4), Code.InvalidArgument],
  ["a compressed message", frame("one", COMPRESSED), Code.Unimplemented],
])("%s ends the stream, after what was answered before", async (_name, bytes, code) => {
  const { body, trailers } = await ask([frame("two"), bytes]);
  expect(body).toEqual(frame("two"));
  expect(trailers).toMatchObject({ "grpc-status": String(code) });
});

describe("what is not spoken is refused in words that the client knows:", () => {
  test.each([
    ["application/grpc", "grpc-encoding", "grpc-accept-encoding"],
    ["application/grpc-web", "grpc-encoding", "grpc-accept-encoding"],
    ["application/connect+proto", "connect-content-encoding", "connect-accept-encoding"],
  ])("compression, over %s", async (contentType, encoding, accept) => {
    const { headers, trailers, body } = await ask([frame("one")], {
      "content-type": contentType,
      [encoding]: "gzip",
    });
    expect(headers).toMatchObject({ ":status": 200, [accept]: "identity" });
    const end = String(trailers["grpc-status"] ?? body);
    expect(end).toMatch(/^12$|grpc-status: 12\r\n|"code":"unimplemented"/);
    await expect(
      ask([frame("one")], { "content-type": contentType, [encoding]: "identity" }),
    ).resolves.toMatchObject({
      headers: { ":status": 200 },
    });
  });

  test.each([
    "application/json",
    "application/connect+json",
    "application/grpc+json",
    "application/grpc-web-text",
    "",
  ])("content type %j", async (contentType) => {
    const { headers } = await ask([frame("one")], { "content-type": contentType });
    expect(headers).toMatchObject({ ":status": 415 });
  });

  test("another method", async () => {
    const { headers } = await ask([], { ":method": "PUT" });
    expect(headers).toMatchObject({ ":status": 405, allow: "POST" });
  });
});

test("a client whose stream was ended gets no more answers, and may finish sending all the same", async () => {
  let isFirst = true;
  const { open, readAll, send, replies } = await serveMessages(() => {
    if (!isFirst) throw new ConnectError("enough", Code.ResourceExhausted);
    isFirst = false;
    return [Buffer.alloc(100_000)];
  });
  const stream = open();
  await send(stream, Buffer.concat([frame("one"), frame("two")]));
  readAll();
  const answer = buffer(stream);
  // More than the server's window.
  for (let count = 0; count < 100; count++) stream.write(Buffer.concat(Array(1_000).fill(frame("more"))));
  await new Promise<void>((resolve) => stream.end(resolve));
  expect(await answer).toHaveLength(100_005);
  expect(replies()).toBe(2);
});

describe("a peer that doesn't read", () => {
  /** More than any buffer between the two takes. */
  const long = Buffer.alloc(32 * 1024 * 1024);

  test("makes the server hold one answer (exhaustion of memory: 100 questions of 35 bytes, no answer read)", async () => {
    const { open, readAll, send, replies } = await serveMessages(() => [long.subarray(0, 100_000)]);
    const stream = open();
    await send(stream, messages);
    stream.end();
    expect(replies()).toBe(1);
    readAll();
    expect(await buffer(stream)).toHaveLength(3 * 100_005);
    expect(replies()).toBe(3);
  });

  test("over HTTP/2 and goes away costs nothing more, and ends nobody else's call", async () => {
    const { open, readAll, send, isServed, replies } = await serveMessages(() => [long.subarray(0, 100_000)]);
    const stream = open();
    await send(stream, messages);
    stream.close(constants.NGHTTP2_CANCEL);
    await once(stream, "close");
    await isServed();
    expect(replies()).toBe(1);
    readAll();
    const next = open();
    next.end(frame("one"));
    expect(await buffer(next)).toHaveLength(100_005);
  });

  test("over HTTP/1.1 likewise", async () => {
    const { server, replies, open, readAll } = await serveMessages(() => [long]);
    const socket = connectTcp(server.port, "127.0.0.1");
    const head =
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc-web\r\nContent-Length: 99\r\n\r\n";
    socket.write(Buffer.concat([Buffer.from(head), messages]));
    await once(socket, "readable");
    socket.destroy();
    readAll();
    const next = open();
    next.end(frame("one"));
    expect(await buffer(next)).toHaveLength(long.length + 5);
    expect(replies()).toBe(2);
  });
});
