import { Code } from "@connectrpc/connect";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { grpcFrame } from "../../harness/grpc-frame.mjs";
import { operator, startTestApp, type TestApp } from "../harness/app.js";
import { postGrpc, send } from "./raw-requests.js";

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app[Symbol.asyncDispose]());

/** All that is served, with anything in the place of a template's parts. */
const path = fc
  .tuple(fc.nat(), fc.nat(), fc.oneof(fc.uuid(), fc.webSegment()), fc.webPath())
  .map(([kind, pick, part, anything]) => {
    const { rpcMethods, restRoutes } = app.service;
    const templates = restRoutes.flatMap((route) => [route.path, ...(route.aliases ?? [])]);
    const of = (list: readonly string[]) => list[pick % list.length] ?? "/";
    if (kind % 5 === 0) return anything || "/";
    if (kind % 5 < 3) return `/${of(rpcMethods.map(({ name }) => name))}`;
    return of(templates).replace(/\{\w+\}/, () => part);
  });

const id = fc.oneof(fc.uuid(), fc.string());
const fields = fc.record(
  {
    id,
    datasetId: id,
    datasetIds: fc.array(id),
    dataset_ids: fc.array(id),
    dataset: fc.record(
      { id, title: fc.string({ unit: "binary" }), kind: fc.integer() },
      { requiredKeys: [] },
    ),
    updateMask: fc.string(),
    name: fc.string({ unit: "binary" }),
    limit: fc.oneof(fc.integer(), fc.double()),
    cursor: fc.base64String(),
    expireTime: fc.oneof(
      fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
      fc.string(),
    ),
    sig: fc.string(),
    token: fc.string({ unit: "binary" }),
    origin: fc.string({ unit: "binary" }),
    clientIp: fc.oneof(fc.ipV6(), fc.string({ unit: "binary" })),
    apiKey: fc.record(
      {
        id,
        name: fc.string(),
        origins: fc.array(fc.string()),
        allowedIps: fc.array(fc.oneof(fc.ipV4(), fc.ipV6(), fc.string())),
        datasetIds: fc.array(id),
        rateLimit: fc.nat(),
      },
      { requiredKeys: [] },
    ),
    origins: fc.oneof(fc.array(fc.string({ unit: "binary" })), fc.string()),
    user_agent: fc.oneof(fc.string({ unit: "binary" }), fc.nat()),
    exp: fc.nat(),
    scope: fc.string(),
  },
  { requiredKeys: [] },
);
const body = fc
  .oneof(
    fields.map((value) => JSON.stringify(value)),
    fc.json(),
    fc.string({ unit: "binary" }),
    fc.uint8Array({ maxLength: 300 }),
  )
  .map((content) => new Uint8Array(Buffer.from(content)));

const contentType = fc.constantFrom(
  ...[
    "application/json",
    "application/proto",
    "application/grpc",
    "application/grpc-web+proto",
    "text/plain",
  ],
);

const request = fc.record({
  path,
  body,
  contentType,
  method: fc.constantFrom("POST", "POST", "POST", "GET", "PUT", "DELETE"),
  headers: fc.constantFrom({}, operator, { authorization: "Bearer x" }, { "content-encoding": "gzip" }),
});

test("no request gets a failure of the server's own, whatever is sent to whichever route", async () => {
  await fc.assert(
    fc.asyncProperty(request, async ({ path, body, contentType, method, headers }) => {
      if (contentType === "application/grpc") {
        const answer = await postGrpc(app, path, grpcFrame(body), headers);
        expect(answer.status).toBeLessThan(500);
        // The service's own failures have this message; INTERNAL is also gRPC's word for a malformed message.
        expect(answer.grpcStatus).not.toBe(Code.Unknown);
        expect(answer.text).not.toContain("internal%20error");
        return;
      }
      const sent = method === "GET" ? {} : { body };
      const answer = await send(app, path, {
        method,
        headers: { "content-type": contentType, ...headers },
        ...sent,
      });
      expect(answer.status, answer.text).toBeLessThan(500);
      expect(answer.text).not.toMatch(/internal error|node_modules/);
    }),
    { numRuns: 500 },
  );
  expect((await send(app, "/readyz")).status).toBe(200);
});
