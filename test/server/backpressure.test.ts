import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import type { HttpHandler } from "../../src/server/http-handler.js";
import { discardBody } from "../../src/server/unread-body.js";
import { connectRaw } from "./raw-client.js";
import { createGate, serve } from "./serve.js";

/** Far above what the operating system takes between two sockets. */
const BODY = Buffer.alloc(32 * 1024 * 1024);

/** Each lets the event loop come round, and so would let it read on. */
const OTHER_CALLS = 100;

/** A few buffers' worth: of the socket, the request, and what was on its way. */
const MAX_READ_BYTES = 512 * 1024;

/** Sends a long body as the first request of a connection, for which Node.js has a path of its own, at once with its head. */
async function upload(answer: HttpHandler) {
  const handled = createGate();
  let uploading: IncomingMessage | undefined;
  const { server } = await serve({
    handler(request, response, exchange) {
      if (request.method === "GET" || "stream" in request) {
        response.end();
        return;
      }
      uploading = request;
      answer(request, response, exchange);
      handled.open();
    },
  });
  const client = await connectRaw(server.port);
  const head = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${BODY.length}\r\n\r\n`;
  client.socket.write(Buffer.concat([Buffer.from(head), BODY]));
  await handled.passed;
  return {
    client,
    async readAfterOtherCalls() {
      for (let call = 0; call < OTHER_CALLS; call += 1) await fetch(server.url);
      return uploading?.socket.bytesRead;
    },
  };
}

test("what nobody reads of a request over HTTP/1.1 is not taken in", async () => {
  const { readAfterOtherCalls } = await upload(() => undefined);
  expect(await readAfterOtherCalls()).toBeLessThan(MAX_READ_BYTES);
});

const refuse: HttpHandler = (request, response) => {
  discardBody(request, response);
  response.writeHead(413);
  response.end("answer");
};

test.each<[string, HttpHandler]>([
  ["is refused", refuse],
  [
    "is refused after a while",
    async (request, response, exchange) => {
      for (let turn = 0; turn < 20; turn += 1) await nextTurn();
      refuse(request, response, exchange);
    },
  ],
  ["is answered", (_request, response) => response.end("answer")],
])("nor is it once the request %s, and its client gets the answer", async (_how, handler) => {
  const { client, readAfterOtherCalls } = await upload(handler);
  await once(client.socket, "data");
  expect(await readAfterOtherCalls()).toBeLessThan(MAX_READ_BYTES);
  expect(await client.ended).toContain("answer");
});

test("a connection serves on after a long body that was read", async () => {
  const { server } = await serve({
    async handler(request, response) {
      let bytes = 0;
      for await (const chunk of request) bytes += chunk.length;
      response.end(`${bytes} bytes`);
    },
  });
  const client = await connectRaw(server.port);
  for (const length of [100_000, 200_000]) {
    client.socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`);
    client.socket.write(Buffer.alloc(length));
    await client.receives(`${length} bytes`);
  }
  client.socket.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  expect(await client.ended).toContain("\r\n\r\n0 bytes");
});
