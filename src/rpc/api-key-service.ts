import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, durationMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { ApiKeys, RevealedApiKey } from "../domain/api-keys/api-keys.js";
import type { ApiKeyRefusal } from "../domain/api-keys/restrictions.js";
import type { ApiKeyChange } from "../domain/api-keys/settings.js";
import type { ApiKeyRequest, ApiKeyVerdict, ApiKeyVerification } from "../domain/api-keys/verification.js";
import { below, DomainError, invalid } from "../domain/errors.js";
import {
  type ApiKeySchema,
  type ApiKey as WireApiKey,
  ApiKeyRefusal as WireRefusal,
} from "../gen/proto/tilegate/v1/api_key_pb.js";
import type {
  ApiKeyService,
  VerifyApiKeyRequest,
  VerifyApiKeyResponseSchema,
} from "../gen/proto/tilegate/v1/api_key_service_pb.js";
import {
  optionalDate,
  optionalTimestamp,
  optionalUuid,
  orUndefined,
  pick,
  toListRequest,
} from "./conversions.js";
import { callerKey } from "./interceptors.js";

const CHANGEABLE = {
  name: "name",
  description: "description",
  user_agent: "userAgent",
  origins: "origins",
  enabled: "enabled",
  expire_time: "expireTime",
  dataset_ids: "datasetIds",
  rate_limit: "rateLimit",
  allowed_ips: "allowedIps",
} as const;

const REFUSALS: Record<ApiKeyRefusal, WireRefusal> = {
  not_found: WireRefusal.NOT_FOUND,
  disabled: WireRefusal.DISABLED,
  expired: WireRefusal.EXPIRED,
  origin: WireRefusal.ORIGIN,
  user_agent: WireRefusal.USER_AGENT,
  ip: WireRefusal.IP,
  dataset: WireRefusal.DATASET,
  rate_limited: WireRefusal.RATE_LIMITED,
};

export function createApiKeyService(
  apiKeys: ApiKeys,
  verification: ApiKeyVerification,
): ServiceImpl<typeof ApiKeyService> {
  return {
    async listApiKeys(request, { values }) {
      const accountId = optionalUuid(request.accountId);
      const page = await apiKeys.list(values.get(callerKey), toListRequest(request), accountId);
      return { apiKeys: page.items.map(toWire), cursor: page.cursor, totalCount: page.totalCount };
    },

    async createApiKey({ apiKey }, { values }) {
      const settings = apiKey === undefined ? {} : toSettings(apiKey);
      const accountId = optionalUuid(apiKey?.accountId ?? "");
      const creating = apiKeys.create(values.get(callerKey), settings, accountId);
      return { apiKey: toWire(await inApiKey(creating)) };
    },

    async getApiKey({ id }, { values }) {
      return { apiKey: toWire(await apiKeys.get(values.get(callerKey), id)) };
    },

    async updateApiKey({ apiKey, updateMask }, { values }) {
      if (apiKey === undefined) throw invalid("api_key", "is required");
      if (apiKey.id === "") throw invalid("api_key.id", "is required");
      const change = pick(toSettings(apiKey), updateMask?.paths ?? [], CHANGEABLE);
      const etag = orUndefined(apiKey.etag);
      const updating = apiKeys.update(values.get(callerKey), apiKey.id, change, etag);
      return { apiKey: toWire(await inApiKey(updating)) };
    },

    async deleteApiKey({ id, etag }, { values }) {
      return { apiKey: toWire(await apiKeys.delete(values.get(callerKey), id, orUndefined(etag))) };
    },

    async undeleteApiKey({ id }, { values }) {
      return { apiKey: toWire(await apiKeys.undelete(values.get(callerKey), id)) };
    },

    async rotateApiKey({ id, gracePeriod, etag }, { values }) {
      const gracePeriodSeconds = gracePeriod && durationMs(gracePeriod) / 1000;
      const options = { gracePeriodSeconds, etag: orUndefined(etag) };
      return { apiKey: toWire(await apiKeys.rotate(values.get(callerKey), id, options)) };
    },

    async verifyApiKey(request, { values }) {
      const verdict = await verification.verify(
        values.get(callerKey),
        request.token,
        toApiKeyRequest(request),
      );
      return toVerdict(verdict);
    },
  };
}

/** Where settings are the message's `api_key`: a failure names them there. */
const inApiKey = <T>(outcome: Promise<T>): Promise<T> =>
  outcome.catch((error: unknown) => {
    throw error instanceof DomainError ? below("api_key", error) : error;
  });

/** What isn't set is null, which clears a setting on update and is its default on creation. */
const toSettings = (key: WireApiKey) =>
  ({
    name: key.name,
    description: key.description,
    userAgent: key.userAgent,
    origins: key.origins,
    allowedIps: key.allowedIps,
    enabled: key.enabled ?? null,
    expireTime: optionalDate(key.expireTime, "api_key.expire_time") ?? null,
    datasetIds: key.datasetIds,
    rateLimit: key.rateLimit
      ? { requests: key.rateLimit.requests, windowSeconds: orUndefined(key.rateLimit.windowSeconds) }
      : null,
  }) satisfies ApiKeyChange;

function toWire({ key, token, etag }: RevealedApiKey): MessageInitShape<typeof ApiKeySchema> {
  return {
    id: key.id,
    accountId: key.accountId,
    token,
    tokenUnreadable: token === undefined,
    name: key.name,
    description: key.description,
    userAgent: key.userAgent,
    origins: [...key.origins],
    allowedIps: [...key.allowedIps],
    enabled: key.enabled,
    expireTime: optionalTimestamp(key.expireTime),
    datasetIds: [...key.datasetIds],
    rateLimit: key.rateLimit,
    createTime: timestampFromDate(key.created),
    updateTime: timestampFromDate(key.changed),
    lastUsedTime: optionalTimestamp(key.lastUsed),
    deleteTime: optionalTimestamp(key.deleted),
    previousTokenExpireTime: optionalTimestamp(key.previous?.expireTime),
    etag,
  };
}

/** The request that a key came with, as its gateway tells it. */
export const toApiKeyRequest = ({
  origin,
  referer,
  userAgent,
  clientIp,
  datasetId,
}: VerifyApiKeyRequest): ApiKeyRequest => ({
  origin,
  referer,
  userAgent,
  clientIp,
  datasetId: optionalUuid(datasetId),
});

/** How a verdict travels. */
export function toVerdict(verdict: ApiKeyVerdict): MessageInitShape<typeof VerifyApiKeyResponseSchema> {
  const expireTime = optionalTimestamp(verdict.expireTime);
  if (verdict.valid) {
    const { apiKeyId, accountId } = verdict.principal;
    return { valid: true, apiKeyId, accountId, expireTime };
  }
  const { refusal, key, retryAfterSeconds } = verdict;
  return {
    valid: false,
    refusal: REFUSALS[refusal],
    apiKeyId: key?.id,
    accountId: key?.accountId,
    expireTime,
    retryAfter: retryAfterSeconds === undefined ? undefined : durationFromMs(retryAfterSeconds * 1000),
  };
}
