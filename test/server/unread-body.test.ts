import { once } from "node:events";
import { connect, constants, Http2ServerResponse } from "node:http2";
import { expect, onTestFinished, test } from "vitest";
import { discardBody } from "../../src/server/unread-body.js";
import { createGate, serve } from "./serve.js";

/** Five times what is thrown away. */
const BODY = Buffer.alloc(320 * 1024);

test("an upload over HTTP/2 that nobody reads is ended once its answer is sent whole, and not before", async () => {
  const tooMuch = createGate();
  const { server } = await serve({
    async handler(request, response) {
      let received = 0;
      request.on("data", (chunk: Buffer) => {
        received += chunk.length;
        if (received > 128 * 1024) tooMuch.open();
      });
      discardBody(request, response);
      await tooMuch.passed;
      response.writeHead(200);
      if (response instanceof Http2ServerResponse) response.addTrailers({ "grpc-status": "8" });
      response.end("answer");
    },
  });
  const session = connect(server.url);
  onTestFinished(() => session.destroy());
  const stream = session.request({ ":method": "POST", ":path": "/" });
  stream.write(BODY);
  const closed = once(stream, "close");
  const trailed = once(stream, "trailers");
  stream.setEncoding("utf8");
  let answer = "";
  stream.on("data", (text) => {
    answer += text;
  });
  const [trailers] = await trailed;
  expect(trailers["grpc-status"]).toBe("8");
  // More of it: the server tells that it need not be sent.
  stream.write(BODY);
  await closed;
  expect(answer).toBe("answer");
  expect(stream.rstCode).toBe(constants.NGHTTP2_NO_ERROR);
});

test("an upload over HTTP/2 whose client leaves no room for the answer is ended after a MiB", async () => {
  let received = 0;
  const { server } = await serve({
    handler(request, response) {
      request.on("data", (chunk: Buffer) => {
        received += chunk.length;
      });
      discardBody(request, response);
      response.end("answer");
    },
  });
  const session = connect(server.url, { settings: { initialWindowSize: 0 } });
  onTestFinished(() => session.destroy());
  const stream = session.request({ ":method": "POST", ":path": "/" });
  stream.on("error", () => undefined);
  stream.write(Buffer.alloc(8 * 1024 * 1024));
  await new Promise((resolve) => stream.once("close", resolve));
  expect(stream.rstCode).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  expect(received).toBeLessThan(1.2 * 1024 * 1024);
});
