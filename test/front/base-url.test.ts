import { once } from "node:events";
import { type OutgoingHttpHeaders, request as requestHttp } from "node:http";
import { connect } from "node:http2";
import { request as requestHttps } from "node:https";
import { connect as connectTcp } from "node:net";
import { text } from "node:stream/consumers";
import { beforeAll, describe, expect, test } from "vitest";
import { baseUrlOf } from "../../src/front/base-url.js";
import { createClientAddresses } from "../../src/front/client-address.js";
import { createCertificate, serve } from "../server/serve.js";

const LOOPBACK = ["127.0.0.0/8", "::1"];

const start = async (
  trustedProxies: readonly string[],
  tls?: Awaited<ReturnType<typeof createCertificate>>,
) => {
  const addresses = createClientAddresses(trustedProxies);
  const { server } = await serve({
    tls,
    handler: (request, response) => void response.end(baseUrlOf(request, addresses) ?? "unknown"),
  });
  return server;
};

/** How this server, asked with these headers, says that it was reached. */
async function reached(trustedProxies: readonly string[], headers: OutgoingHttpHeaders) {
  const { port } = await start(trustedProxies);
  const [response] = await once(requestHttp({ host: "127.0.0.1", port, headers }).end(), "response");
  return text(response);
}

describe("by the request's host", () => {
  test.each([
    ["maps.example.com", "http://maps.example.com"],
    ["maps.example.com:8080", "http://maps.example.com:8080"],
    ["MAPS.example.com:80", "http://maps.example.com"],
    ["127.0.0.1:3000", "http://127.0.0.1:3000"],
    ["[2001:DB8::1]:3000", "http://[2001:db8::1]:3000"],
    ["xn--mnchen-3ya.example", "http://xn--mnchen-3ya.example"],
    ["tile_server:80", "http://tile_server"],
  ])("%s", async (host, base) => {
    expect(await reached([], { host })).toBe(base);
  });

  test.each([
    ["a path", "maps.example.com/evil"],
    ["a path that begins with a backslash", "maps.example.com\\evil"],
    ["a query", "maps.example.com?x"],
    ["a fragment", "maps.example.com#x"],
    ["its own as userinfo", "maps.example.com@evil.example"],
    ["a password", "a:b@evil.example"],
    ["a port that is none", "maps.example.com:99999"],
    ["two ports", "maps.example.com:80:80"],
    ["a list", "maps.example.com, evil.example"],
    ["a blank", "maps.example.com evil.example"],
    ["percent-encoding", "maps%2eexample.com"],
    ["a quote that would leave an attribute", 'maps.example.com"><script>'],
    ["braces, which a template would fill", "{z}.example.com"],
    ["an IPv6 address without brackets", "2001:db8::1"],
    ["brackets that don't close", "[2001:db8::1"],
  ])("never by %s", async (_, host) => {
    expect(await reached([], { host })).toBe("unknown");
  });
});

test("never by nothing, as HTTP/1.0 may have it", async () => {
  const { port } = await start([]);
  const socket = connectTcp(port, "127.0.0.1");
  socket.end("GET / HTTP/1.0\r\n\r\n");
  expect(await text(socket)).toMatch(/\r\n\r\nunknown$/);
});

describe("by a proxy", () => {
  test.each([
    [{ "x-forwarded-host": "maps.example.com", "x-forwarded-proto": "https" }, "https://maps.example.com"],
    [{ "x-forwarded-host": "maps.example.com:8443" }, "http://maps.example.com:8443"],
    [{ "x-forwarded-proto": "https" }, "https://inside.example"],
    [{ "x-forwarded-proto": "http" }, "http://inside.example"],
    [{}, "http://inside.example"],
  ])("that is trusted: %j", async (headers, base) => {
    expect(await reached(LOOPBACK, { host: "inside.example", ...headers })).toBe(base);
  });

  test.each([
    { "x-forwarded-host": "maps.example.com, inside.example" },
    { "x-forwarded-host": ["maps.example.com", "inside.example"] },
    { "x-forwarded-host": "maps.example.com/evil" },
    { "x-forwarded-host": "" },
    { "x-forwarded-proto": "https, http" },
    { "x-forwarded-proto": ["https", "https"] },
    { "x-forwarded-proto": "HTTPS" },
    { "x-forwarded-proto": "javascript" },
    { "x-forwarded-proto": "" },
  ])("that is trusted but says %j it can't be told", async (headers) => {
    expect(await reached(LOOPBACK, { host: "inside.example", ...headers })).toBe("unknown");
  });

  test("that nobody trusts, whatever it says, it is not told", async () => {
    const headers = { "x-forwarded-host": "evil.example", "x-forwarded-proto": "https" };
    for (const trusted of [[], ["10.0.0.0/8"]])
      expect(await reached(trusted, { host: "inside.example", ...headers })).toBe("http://inside.example");
  });

  test("in no other headers than these", async () => {
    const headers = {
      forwarded: "host=evil.example;proto=https",
      "x-forwarded-port": "1",
      "x-host": "evil.example",
    };
    expect(await reached(LOOPBACK, { host: "inside.example", ...headers })).toBe("http://inside.example");
  });
});

describe("over TLS it is https", () => {
  let tls: Awaited<ReturnType<typeof createCertificate>>;
  beforeAll(async () => {
    tls = await createCertificate();
  });

  test("HTTP/1.1", async () => {
    const { port } = await start([], tls);
    const asked = requestHttps({
      host: "127.0.0.1",
      port,
      ca: tls.cert,
      servername: "localhost",
      headers: { host: "maps.example.com" },
    });
    const [response] = await once(asked.end(), "response");
    expect(await text(response)).toBe("https://maps.example.com");
  });

  test("HTTP/2, whatever scheme the client names", async () => {
    const { url } = await start([], tls);
    const session = connect(url, { ca: tls.cert });
    const stream = session.request({ ":authority": "maps.example.com", ":scheme": "http" });
    expect(await text(stream)).toBe("https://maps.example.com");
    session.destroy();
  });
});

test("over cleartext HTTP/2 it is http, and of two names of the host the authority", async () => {
  const { url } = await start([]);
  const session = connect(url);
  const stream = session.request({
    ":authority": "maps.example.com",
    ":scheme": "https",
    host: "evil.example",
  });
  expect(await text(stream)).toBe("http://maps.example.com");
  session.destroy();
});
