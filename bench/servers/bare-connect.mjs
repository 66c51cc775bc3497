// Connect with a handler that does nothing but answer, on the same kind of port as Tilegate: no authentication, no
// validation, no access decision, and every token's message made once a second.
import { create } from "@bufbuild/protobuf";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import {
  ApiKeyService,
  VerifyApiKeyResponseSchema,
} from "../../dist/gen/proto/tilegate/v1/api_key_service_pb.js";
import { TileTokenResultSchema } from "../../dist/gen/proto/tilegate/v1/tile_token_pb.js";
import {
  BatchGetTileTokensResponseSchema,
  TileTokenService,
} from "../../dist/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { startServer } from "../../dist/server/server.js";
import { createSigner, fixture, rasterOf } from "./tokens.mjs";

/** @typedef {import("../../dist/gen/proto/tilegate/v1/tile_token_pb.js").TileTokenResult} TileTokenResult */

const sign = createSigner();
/** @type {Map<string, TileTokenResult>} */
const results = new Map();
let second = 0;

/** @param {string} id @returns {TileTokenResult} */
function resultOf(id) {
  const now = Math.floor(Date.now() / 1000);
  if (now !== second) {
    results.clear();
    second = now;
  }
  const known = results.get(id);
  if (known) return known;
  const { kind, ...token } = sign(id);
  const result = create(TileTokenResultSchema, {
    result:
      kind === "vector"
        ? { case: kind, value: token }
        : { case: kind, value: { ...token, ...rasterOf(token.sig, token.exp, token.scope) } },
  });
  results.set(id, result);
  return result;
}

const verdict = create(VerifyApiKeyResponseSchema, {
  valid: true,
  apiKeyId: fixture.accountId,
  accountId: fixture.accountId,
});

const handler = connectNodeAdapter({
  routes(router) {
    router.service(TileTokenService, {
      batchGetTileTokens({ datasetIds }) {
        const response = create(BatchGetTileTokensResponseSchema);
        for (const id of datasetIds) response.tokens[id] = resultOf(id);
        return response;
      },
    });
    router.service(ApiKeyService, { verifyApiKey: () => verdict });
  },
});
const { port } = await startServer({ host: "127.0.0.1", port: 0, handler });
process.send?.({ listening: { port } });
