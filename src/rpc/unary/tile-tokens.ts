import { create, toBinary } from "@bufbuild/protobuf";
import type { TileTokenOutcome, TileTokens } from "../../domain/tile-tokens/tile-tokens.js";
import { isCanonicalUuid } from "../../domain/uuid.js";
import { TileTokenErrorCodeSchema } from "../../gen/proto/tilegate/v1/tile_token_pb.js";
import {
  BatchGetTileTokensRequestSchema,
  BatchGetTileTokensResponseSchema,
  GetTileTokenResponseSchema,
  TileTokenService,
} from "../../gen/proto/tilegate/v1/tile_token_service_pb.js";
import { binaryEntries, createEntriesEncoder, jsonEntries } from "../../schema/entries.js";
import { fieldOfJson, type IdReader } from "../../schema/id-reader.js";
import { listLimits } from "../../schema/validate.js";
import { toResult, toToken } from "../tile-token-service.js";
import { createHotRpc, encode, type HotRpc } from "./codec.js";

export function createBatchGetTileTokens(tileTokens: TileTokens, idReader: IdReader): HotRpc {
  const schema = BatchGetTileTokensResponseSchema;
  const response = (id: string, outcome: TileTokenOutcome) =>
    create(schema, { tokens: { [id]: toResult(outcome) } });
  const isShared = ({ kind }: TileTokenOutcome) => kind === "error";
  const entries = {
    json: createEntriesEncoder(jsonEntries(toJson), isShared),
    binary: createEntriesEncoder(
      binaryEntries((id, outcome: TileTokenOutcome) => toBinary(schema, response(id, outcome))),
      isShared,
    ),
  };
  const ofJson = idReader.listOfJson("datasetIds", "dataset_ids");
  const { max } = listLimits(BatchGetTileTokensRequestSchema.field.datasetIds);
  return createHotRpc(TileTokenService.method.batchGetTileTokens, {
    read(form, message) {
      const ids = form === "json" ? ofJson(message) : idReader.ofProto(message);
      return ids !== undefined && ids.length <= max ? ids : undefined;
    },
    call: tileTokens.batch,
    write: (form, { ids, outcomes }) => entries[form](ids, outcomes),
    isForEverybody: (batch) => batch.isForEverybody,
  });
}

export function createGetTileToken(tileTokens: TileTokens, idReader: IdReader): HotRpc {
  return createHotRpc(TileTokenService.method.getTileToken, {
    read(form, message) {
      if (form === "json") return id(fieldOfJson(message, "dataset_id", "datasetId"));
      const ids = idReader.ofProto(message);
      return ids?.length === 1 ? ids[0] : undefined;
    },
    call: tileTokens.get,
    write: (form, { token }) => encode(form, GetTileTokenResponseSchema, { token: toToken(token) }),
    isForEverybody: (answer) => answer.isForEverybody,
  });
}

/**
 * The canonical JSON of a TileTokenResult, for a twentieth of what reflection takes. A property holds it to that
 * (test/rpc/unary/equality.test.ts).
 */
function toJson(outcome: TileTokenOutcome): unknown {
  const { result } = toResult(outcome);
  if (result?.case === undefined) return {};
  if (result.case === "error") {
    const { code = 0, message } = result.value;
    return { error: { code: TileTokenErrorCodeSchema.value[code]?.name, message } };
  }
  if (result.case === "vector") {
    const { sig, exp, scope, expiresIn } = result.value;
    return { vector: { sig, exp, scope, expiresIn } };
  }
  const { bounds = [], ...raster } = result.value;
  // An empty list is left out.
  return { raster: { ...raster, ...(bounds.length > 0 && { bounds }) } };
}

const id = (value: unknown): string | undefined =>
  typeof value === "string" && isCanonicalUuid(value) ? value : undefined;
