import { Code } from "@connectrpc/connect";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { grpcFrame } from "../../harness/grpc-frame.mjs";
import { AccountService } from "../../src/gen/proto/tilegate/v1/account_service_pb.js";
import { DatasetService } from "../../src/gen/proto/tilegate/v1/dataset_service_pb.js";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { operator, startTestApp, type TestApp } from "../harness/app.js";
import { postGrpc, send } from "./raw-requests.js";

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app[Symbol.asyncDispose]());

const rpcs = [TileTokenService, DatasetService, AccountService].flatMap(({ typeName, methods }) =>
  methods.map(({ name }) => `/${typeName}/${name}`),
);
const path = fc.oneof(
  fc.constantFrom(...rpcs),
  fc.constantFrom("/api/tiles/tokens/", "/tiles/token/x", "/healthz", "/readyz"),
  fc.webPath().map((anything) => anything || "/"),
  fc.webPath().map((suffix) => `/api/tiles/token/${suffix}`),
);

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
    { numRuns: 300 },
  );
  expect((await send(app, "/readyz")).status).toBe(200);
});
