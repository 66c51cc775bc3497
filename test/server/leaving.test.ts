import { once } from "node:events";
import { Agent, request } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { describe, expect, onTestFinished, test } from "vitest";
import { createCertificate, datasetId, getPath, serve } from "./serve.js";

const grpcHeaders = { ":method": "POST", ":path": getPath, "content-type": "application/json" };
const body = JSON.stringify({ datasetId });

test("HTTP/1.1 clients that are asked to leave get their answers as the last ones on their connections", async () => {
  const { server } = await serve();
  const agent = new Agent({ keepAlive: true });
  onTestFinished(() => agent.destroy());
  const get = async () => {
    const [response] = await once(request(server.url, { agent }).end(), "response");
    response.resume();
    await once(response, "end");
    return { status: response.statusCode, connection: response.headers.connection };
  };
  expect(await get()).toEqual({ status: 404, connection: "keep-alive" });
  server.leave();
  expect(await get()).toEqual({ status: 404, connection: "close" });
  expect(await get()).toEqual({ status: 404, connection: "close" });
});

describe.each([false, true])("HTTP/2 (TLS: %s)", (secure) => {
  test("clients that are asked to leave learn it with their next call, and none of their calls is refused", async () => {
    const tls = secure ? await createCertificate() : undefined;
    const { server, inFlight, release } = await serve({ tls });
    const session = connectHttp2(server.url, { ca: tls?.cert });
    onTestFinished(() => session.destroy());
    const goaway = once(session, "goaway");
    const closed = once(session, "close");
    const call = async () => {
      const stream = session.request(grpcHeaders);
      stream.end(body);
      const [headers] = await once(stream, "response");
      stream.resume();
      return headers[":status"];
    };
    const before = call();
    await inFlight(1);
    server.leave();
    // Sent at once: the second arrives when the server has told already.
    const after = [call(), call()];
    await inFlight(3);
    const [code, lastStreamId] = await goaway;
    expect({ code, lastStreamId }).toEqual({ code: 0, lastStreamId: 2 ** 31 - 1 });
    release();
    expect(await Promise.all([before, ...after])).toEqual([200, 200, 200]);
    await closed;
  });

  test("a client without a call is left alone, since its next one may be on its way", async () => {
    const tls = secure ? await createCertificate() : undefined;
    const { server } = await serve({ tls });
    const session = connectHttp2(server.url, { ca: tls?.cert });
    onTestFinished(() => session.destroy());
    await once(session, "remoteSettings");
    server.leave();
    await new Promise<void>((resolve, reject) => {
      session.ping((error) => (error ? reject(error) : resolve()));
    });
    expect(session.closed).toBe(false);
  });
});
