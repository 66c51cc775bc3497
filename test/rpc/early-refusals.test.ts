import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import type { UniversalServerRequest } from "@connectrpc/connect/protocol";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { acceptCompression } from "../../src/rpc/compression.js";
import { correctEarlyRefusal } from "../../src/rpc/early-refusals.js";

const LONG = "x".repeat(2_000);

const server = createServer(
  connectNodeAdapter({
    acceptCompression,
    // So that short errors are compressed, too.
    compressMinBytes: 1,
    routes(router) {
      router.rpc(TileTokenService.method.getTileToken, () => {
        throw new ConnectError(LONG, Code.Internal);
      });
      for (const [index, handler] of router.handlers.entries()) {
        const corrected = async (request: UniversalServerRequest) =>
          correctEarlyRefusal(await handler(request), handler);
        router.handlers[index] = Object.assign(corrected, { ...handler });
      }
    },
  }),
);

beforeAll(async () => {
  await once(server.listen(0, "127.0.0.1"), "listening");
});
afterAll(async () => {
  server.closeAllConnections();
  await once(server.close(), "close");
});

async function ask(encoding: string, body: Uint8Array<ArrayBuffer>) {
  const { port } = server.address() as AddressInfo;
  const response = await fetch(`http://127.0.0.1:${port}/${TileTokenService.typeName}/GetTileToken`, {
    method: "POST",
    headers: { "Content-Type": "application/proto", "Accept-Encoding": encoding },
    body,
  });
  return {
    status: response.status,
    encoding: response.headers.get("content-encoding"),
    error: await response.json(),
  };
}

test.each([
  ["identity", null],
  ["gzip", "gzip"],
  ["br", "br"],
])(
  "an error of ours is answered whole, whatever its length, for a client that accepts %s",
  async (accepted, encoding) => {
    expect(await ask(accepted, new Uint8Array())).toEqual({
      status: 500,
      encoding,
      error: { code: "internal", message: LONG },
    });
  },
);

test.each(["identity", "gzip", "br"])(
  "a message that can't be decoded is the client's fault, also where the answer says so in %s",
  async (accepted) => {
    expect(await ask(accepted, new Uint8Array([0xff, 0xff]))).toMatchObject({
      status: 400,
      error: {
        code: "invalid_argument",
        details: [
          { type: "google.rpc.ErrorInfo", debug: { reason: "MALFORMED_REQUEST" } },
          { type: "google.rpc.BadRequest", debug: { fieldViolations: [{ field: "body" }] } },
        ],
      },
    });
  },
);
