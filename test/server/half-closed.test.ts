import { once } from "node:events";
import { describe, expect, test } from "vitest";
import type { ServerOptions } from "../../src/server/server.js";
import { connectRaw, http2EmptySettings, http2Frame, http2Preface, http2Request } from "./raw-client.js";
import { createCertificate, createGate, serve } from "./serve.js";

const watchPath = "/grpc.health.v1.Health/Watch";
const classes = new Map([[watchPath, { maxCalls: 9, maxCallsPerConnection: 9, isEndless: true }]]);
const begin = Buffer.concat([http2Preface, http2EmptySettings]);
const noWindow = Buffer.from([0, 4, 0, 0, 0, 0]);

/** Longer than a test may take: a connection that is held until one of them fails it. */
const limits = {
  headersTimeoutMs: 300_000,
  requestTimeoutMs: 300_000,
  answerTimeoutMs: 300_000,
  idleTimeoutMs: 300_000,
};

describe.each([false, true])("an HTTP/2 client that ends its side, as curl does (TLS: %s)", (isSecure) => {
  async function serveAndConnect(options: Partial<ServerOptions> = {}) {
    const tls = isSecure ? await createCertificate() : undefined;
    const { server } = await serve({ limits, classes, tls, ...options });
    return await connectRaw(server.port, tls?.cert);
  }

  test("leaves no connection behind", async () => {
    const client = await serveAndConnect();
    client.socket.write(begin);
    await once(client.socket, "data");
    client.socket.end();
    await client.ended;
  });

  test("leaves none behind if it never does more than begin", async () => {
    const client = await serveAndConnect();
    client.socket.end(begin);
    await client.ended;
  });

  test("still gets the answer to its call", async () => {
    const ended = createGate();
    const client = await serveAndConnect({
      async handler(_request, response) {
        response.write("first");
        await ended.passed;
        response.end("last");
      },
    });
    client.socket.end(Buffer.concat([begin, http2Request(1, "/")]));
    await client.receives("first");
    ended.open();
    expect(await client.ended).toContain("last");
  });

  test("does not hold a call whose answer waits for a window, which it can't open any more", async () => {
    const client = await serveAndConnect({ handler: (_request, response) => response.end("answer") });
    const settings = http2Frame(4, 0, 0, noWindow);
    client.socket.end(Buffer.concat([http2Preface, settings, http2Request(1, "/")]));
    await client.ended;
  });

  test("ends its endless calls", async () => {
    const client = await serveAndConnect({ handler: (_request, response) => response.write("status") });
    client.socket.write(Buffer.concat([begin, http2Request(1, watchPath)]));
    await client.receives("status");
    client.socket.end();
    await client.ended;
  });
});

test("a client that ends its side before the TLS handshake is done is not waited for", async () => {
  const { server } = await serve({ limits, tls: await createCertificate() });
  const client = await connectRaw(server.port);
  client.socket.end(Buffer.from([0x16, 3, 1]));
  await client.ended;
});

/** So many, for which of its writes meets the reset is a matter of chance. */
const GONE = 50;

test("clients that are gone as soon as their TLS handshake is done leave no connection behind", async () => {
  const tls = await createCertificate();
  const { server } = await serve({ limits: { ...limits, idleTimeoutMs: 50 }, tls });
  const clients = Array.from({ length: GONE }, () => connectRaw(server.port, tls.cert));
  for (const { socket } of await Promise.all(clients)) socket.end(() => socket.destroy());
  await server.close({ graceMs: limits.answerTimeoutMs });
});
