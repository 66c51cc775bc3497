// Whether an answer of a measured server is right: decoded with the generated code, every signature made again.
import { createHmac } from "node:crypto";
import { fromBinary, fromJsonString } from "@bufbuild/protobuf";
import { CheckResponseSchema } from "../dist/gen/proto/envoy/service/auth/v3/external_auth_pb.js";
import { VerifyApiKeyResponseSchema } from "../dist/gen/proto/tilegate/v1/api_key_service_pb.js";
import { BatchGetTileTokensResponseSchema } from "../dist/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { SIGNING_KEY } from "./fixture.mjs";

const GRPC_PREFIX_BYTES = 5;

/** @typedef {{ begin: number, end: number }} Period In which an answer was made. Unix seconds. */

/**
 * @param {import("./requests.mjs").Protocol} protocol @param {readonly import("./fixture.mjs").BenchDataset[]} datasets
 * @returns {(answer: Buffer, period: Period) => void}
 */
export const checkBatch = (protocol, datasets) => (answer, period) => {
  const { tokens } =
    protocol === "json"
      ? fromJsonString(BatchGetTileTokensResponseSchema, answer.toString())
      : fromBinary(
          BatchGetTileTokensResponseSchema,
          protocol === "grpc" ? answer.subarray(GRPC_PREFIX_BYTES) : answer,
        );
  checkTokens(
    new Map(Object.entries(tokens).map(([id, { result }]) => [id, { kind: result.case, ...result.value }])),
    datasets,
    period,
  );
};

/** @param {readonly import("./fixture.mjs").BenchDataset[]} datasets @returns {(answer: Buffer, period: Period) => void} */
export const checkRest = (datasets) => (answer, period) =>
  checkTokens(new Map(Object.entries(JSON.parse(answer.toString()).tokens)), datasets, period);

/** @param {Buffer} answer */
export function checkVerdict(answer) {
  const { valid } = fromBinary(VerifyApiKeyResponseSchema, answer.subarray(GRPC_PREFIX_BYTES));
  if (!valid) throw new Error("the key was refused");
}

/**
 * @param {Map<string, any>} tokens @param {readonly import("./fixture.mjs").BenchDataset[]} datasets @param {Period} period
 */
function checkTokens(tokens, datasets, { begin, end }) {
  if (tokens.size !== datasets.length)
    throw new Error(`${tokens.size} tokens for ${datasets.length} datasets`);
  for (const { id, kind, scope } of datasets) {
    const token = tokens.get(id);
    if (token?.kind !== kind || token.scope !== scope)
      throw new Error(`no ${kind} token for ${id}: ${JSON.stringify(token)}`);
    const sig = createHmac("sha256", SIGNING_KEY).update(`${scope}:${token.exp}`).digest("hex");
    if (token.sig !== sig) throw new Error(`a wrong signature for ${id}`);
    const expiresIn = token.expiresIn ?? token.expires_in;
    const minted = token.exp - expiresIn;
    if (minted < Math.floor(begin) || minted > end) throw new Error(`expires_in ${expiresIn} for ${id}`);
  }
}

/** @param {Buffer} answer */
export function checkGranted(answer) {
  const { httpResponse } = fromBinary(CheckResponseSchema, answer.subarray(GRPC_PREFIX_BYTES));
  if (httpResponse.case !== "okResponse") throw new Error("the tile was refused");
}

/** @param {Buffer} answer */
export function checkTileJson(answer) {
  const { tilejson, tiles } = JSON.parse(answer.toString());
  if (tilejson !== "3.0.0" || !/[?&]sig=[0-9a-f]{64}&/.test(tiles[0])) throw new Error("no signed TileJSON");
}
