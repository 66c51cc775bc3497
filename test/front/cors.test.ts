import { cors as connectCors } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { type CorsOptions, createCors } from "../../src/front/cors.js";
import { writeHead } from "../../src/server/http-handler.js";
import { serve } from "../server/serve.js";

const page = "https://maps.example.com";

/** A server that answers 204 to preflights and 200 to the rest. */
async function start(origins: CorsOptions["origins"]) {
  const cors = createCors({ origins, common: [] });
  const { server } = await serve({
    handler(request, response) {
      writeHead(response, cors.isPreflight(request) ? 204 : 200, [...cors.headersOf(request)]);
      response.end();
    },
  });
  return {
    preflight: (origin: string) =>
      fetch(server.url, {
        method: "OPTIONS",
        headers: { Origin: origin, "Access-Control-Request-Method": "POST" },
      }),
    call: (headers: Record<string, string>, method = "GET") => fetch(server.url, { method, headers }),
  };
}

const list = (value: string | null) => (value ?? "").split(", ");

describe.each([
  ["any origin", "*", "*"],
  ["a listed origin", [page], page],
] as const)("%s", (_name, origins, allowed) => {
  test("gets its preflight answered with all that Connect and REST need, without credentials", async () => {
    const { preflight } = await start(origins);
    const { status, headers } = await preflight(page);
    expect(status).toBe(204);
    expect(headers.get("access-control-allow-origin")).toBe(allowed);
    expect(list(headers.get("access-control-allow-methods")).sort()).toEqual(["DELETE", "GET", "POST"]);
    expect(list(headers.get("access-control-allow-headers"))).toEqual(
      expect.arrayContaining([...connectCors.allowedHeaders, "Authorization", "X-Api-Key"]),
    );
    expect(headers.get("access-control-max-age")).toBe("7200");
    expect(headers.has("access-control-allow-credentials")).toBe(false);
  });

  test("may read the answer and the headers of errors", async () => {
    const { call } = await start(origins);
    const { status, headers } = await call({ Origin: page });
    expect(status).toBe(200);
    expect(headers.get("access-control-allow-origin")).toBe(allowed);
    expect(list(headers.get("access-control-expose-headers"))).toEqual(
      expect.arrayContaining([...connectCors.exposedHeaders, "Retry-After"]),
    );
  });
});

test.each([
  "https://evil.example",
  "https://maps.example.com.evil.example",
  "http://maps.example.com",
  "https://maps.example.com:8443",
  "null",
])("a page of the unlisted origin %s is allowed nothing", async (origin) => {
  const { preflight, call } = await start([page]);
  for (const { headers } of [await preflight(origin), await call({ Origin: origin })]) {
    expect([...headers.keys()].filter((name) => name.startsWith("access-control-"))).toEqual([]);
  }
});

test("an answer that depends on the origin says so to caches", async () => {
  const listed = await start([page]);
  for (const origin of [undefined, page, "https://evil.example"]) {
    expect((await listed.call(origin ? { Origin: origin } : {})).headers.get("vary")).toBe("Origin");
  }
  const open = await start("*");
  expect((await open.call({ Origin: page })).headers.has("vary")).toBe(false);
});

test("OPTIONS that is no preflight is left to the handler", async () => {
  const { call } = await start("*");
  expect((await call({ Origin: page }, "OPTIONS")).status).toBe(200);
  expect((await call({ "Access-Control-Request-Method": "POST" }, "OPTIONS")).status).toBe(200);
});
