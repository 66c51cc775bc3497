import { describe, expect, test } from "vitest";
import { createClientAddresses } from "../../src/front/client-address.js";
import { serve } from "../server/serve.js";

/** What is known of the client of a request on loopback with these headers. */
async function clientOf(trustedProxies: readonly string[], headers: Record<string, string>) {
  const addresses = createClientAddresses(trustedProxies);
  const { server } = await serve({
    handler(request, response) {
      response.end(JSON.stringify([addresses.isFromProxy(request), addresses.of(request) ?? null]));
    },
  });
  const [isFromProxy, address] = (await (await fetch(server.url, { headers })).json()) as unknown[];
  return { isFromProxy, address };
}

const LOOPBACK = ["127.0.0.0/8", "::1"];

test("without a proxy that is trusted, the connection tells, whatever headers say", async () => {
  const headers = { "X-Forwarded-For": "203.0.113.9" };
  expect(await clientOf([], headers)).toEqual({ isFromProxy: false, address: "127.0.0.1" });
  expect(await clientOf(["10.0.0.0/8"], headers)).toEqual({ isFromProxy: false, address: "127.0.0.1" });
});

describe("behind proxies that are trusted", () => {
  const trusted = [...LOOPBACK, "10.0.0.0/8"];

  test.each([
    ["203.0.113.9", "203.0.113.9"],
    ["203.0.113.9, 10.0.0.2", "203.0.113.9"],
    // What the client claims stands to the left of what the first proxy saw.
    ["127.0.0.1, 203.0.113.9,10.0.0.2", "203.0.113.9"],
    ["10.0.0.1", "10.0.0.1"],
    ["203.0.113.9:4711", "203.0.113.9"],
    ["[2001:DB8::1]:4711", "2001:db8::1"],
    ["2001:db8::1", "2001:db8::1"],
    ["::ffff:203.0.113.9", "203.0.113.9"],
  ])("%s is %s", async (header, address) => {
    expect(await clientOf(trusted, { "X-Forwarded-For": header })).toEqual({ isFromProxy: true, address });
  });

  test.each([
    "unknown",
    "203.0.113.9, nobody",
    "",
    "203.0.113.9,",
    "_hidden",
    "[::1",
    "203.0.113.9 10.0.0.2",
  ])("nobody knows who %j is", async (header) => {
    const { address } = await clientOf(trusted, { "X-Forwarded-For": header });
    expect(address).toBeNull();
  });

  test("without the header it is the proxy itself", async () => {
    expect(await clientOf(trusted, {})).toEqual({ isFromProxy: true, address: "127.0.0.1" });
  });
});
