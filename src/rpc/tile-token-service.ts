import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { Datasets } from "../domain/datasets/datasets.js";
import type {
  RasterTileToken,
  TileToken,
  TileTokenBatch,
  TileTokenOutcome,
  TileTokenRefusal,
  TileTokens,
  VectorTileToken,
} from "../domain/tile-tokens/tile-tokens.js";
import { canonicalUuid } from "../domain/uuid.js";
import { type Caching, CREDENTIAL_HEADERS } from "../front/answer-headers.js";
import {
  type RasterTileTokenSchema,
  TileTokenErrorCode,
  TileTokenInvalidReason,
  type TileTokenResultSchema,
  type VectorTileTokenSchema,
} from "../gen/proto/tilegate/v1/tile_token_pb.js";
import type { TileTokenService } from "../gen/proto/tilegate/v1/tile_token_service_pb.js";
import { cachingKey, callerKey } from "./interceptors.js";

const ERROR_CODES: Record<TileTokenRefusal["code"], TileTokenErrorCode> = {
  not_found: TileTokenErrorCode.NOT_FOUND,
  permission_denied: TileTokenErrorCode.PERMISSION_DENIED,
  unauthenticated: TileTokenErrorCode.UNAUTHENTICATED,
  unavailable: TileTokenErrorCode.UNAVAILABLE,
};

const INVALID_REASONS = {
  expired: TileTokenInvalidReason.EXPIRED,
  signature: TileTokenInvalidReason.SIGNATURE,
  revoked: TileTokenInvalidReason.REVOKED,
} as const;

export function createTileTokenService(
  tileTokens: TileTokens,
  datasets: Pick<Datasets, "revokeTokens">,
): ServiceImpl<typeof TileTokenService> {
  return {
    async getTileToken({ datasetId }, { values }) {
      const { token } = await tileTokens.get(values.get(callerKey), canonicalUuid(datasetId));
      return { token: toToken(token) };
    },

    async batchGetTileTokens({ datasetIds }, { values }) {
      const caller = values.get(callerKey);
      const batch = await tileTokens.batch(caller, datasetIds.map(canonicalUuid));
      if (caller.length === 0) values.set(cachingKey, cachingOf(batch));
      const { ids, outcomes } = batch;
      return {
        tokens: Object.fromEntries(outcomes.map((outcome, index) => [ids[index] ?? "", toResult(outcome)])),
      };
    },

    async verifyTileToken(request) {
      const verdict = await tileTokens.verify(request);
      if (!verdict.valid) return { valid: false, reason: INVALID_REASONS[verdict.reason] };
      return { valid: true, expiresIn: verdict.expiresIn };
    },

    async revokeTileTokens({ datasetId }, { values }) {
      const revokedUntilExp = await datasets.revokeTokens(values.get(callerKey), canonicalUuid(datasetId));
      return { revokedUntilExp };
    },
  };
}

/** What is revoked, or open no more, is handed out so much longer. */
const KEPT_SECONDS = 10;

/** Who counts `expires_in` from when the answer came, and asks again at 80 % of it, does so while the token lives. */
const KEPT_SHARE_OF_LIFE = 0.2;

/** Of an answer to anonymous callers. In the second half of its time it may only be given to who asks while another asks here. */
function cachingOf({ isPublic, outcomes }: TileTokenBatch): Caching | undefined {
  if (!isPublic) return undefined;
  const lives = outcomes.map((outcome) => (outcome.kind === "error" ? 0 : outcome.expiresIn));
  const kept = Math.min(KEPT_SECONDS, Math.floor(Math.min(...lives) * KEPT_SHARE_OF_LIFE));
  if (kept === 0) return undefined;
  const maxAge = Math.ceil(kept / 2);
  const control = `public, max-age=${maxAge}, stale-while-revalidate=${kept - maxAge}`;
  return { control, vary: CREDENTIAL_HEADERS };
}

/** How an outcome travels. */
export function toResult(outcome: TileTokenOutcome): MessageInitShape<typeof TileTokenResultSchema> {
  if (outcome.kind !== "error") return { result: toToken(outcome) };
  return { result: { case: "error", value: { code: ERROR_CODES[outcome.code], message: outcome.message } } };
}

/** How a token travels. */
export function toToken(token: TileToken) {
  return token.kind === "vector"
    ? { case: token.kind, value: toVector(token) }
    : { case: token.kind, value: toRaster(token) };
}

const toVector = ({ kind: _, ...token }: VectorTileToken): MessageInitShape<typeof VectorTileTokenSchema> =>
  token;

const toRaster = ({
  kind: _,
  bounds,
  ...token
}: RasterTileToken): MessageInitShape<typeof RasterTileTokenSchema> => ({
  ...token,
  bounds: [...(bounds ?? [])],
});
