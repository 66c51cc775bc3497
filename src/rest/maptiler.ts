import { z } from "zod";
import type { ApiKeys, RevealedApiKey } from "../domain/api-keys/api-keys.js";
import type { ApiKeyChange } from "../domain/api-keys/settings.js";
import { type DomainError, invalid, invalidFields, notFound } from "../domain/errors.js";
import { requireManager } from "../domain/identity/management.js";
import { DEFAULT_PAGE_LIMIT, type ListRequest } from "../domain/page.js";
import { ApiKeySchema } from "../gen/proto/tilegate/v1/api_key_pb.js";
import { ListApiKeysRequestSchema } from "../gen/proto/tilegate/v1/api_key_service_pb.js";
import { checked, listLimits } from "../schema/validate.js";
import type { Route } from "./router.js";

/** Only the types: the limits are the schema's, as for RPCs. A misspelt restriction must not pass unnoticed. */
const settings = z.strictObject({
  name: z.string().nullish(),
  description: z.string().nullish(),
  user_agent: z.string().nullish(),
  origins: z.array(z.string()).nullish(),
  // What an answer also has, so that one can be edited and sent back. Not settings: ignored.
  id: z.unknown().optional(),
  token: z.unknown().optional(),
  created: z.unknown().optional(),
  changed: z.unknown().optional(),
});

/** The only list: each bad item of a longer one would be described. */
const { max: MAX_ORIGINS } = listLimits(ApiKeySchema.field.origins);

/** MapTiler's API key routes: its paths, shapes and null semantics, so that its clients work unchanged. */
export function createMapTilerRoutes(apiKeys: ApiKeys): Route[] {
  const collection = /^\/v1\/api_keys\/?$/;
  const item = /^\/v1\/api_keys\/(?<key_id>[^/]+)\/?$/;
  return [
    {
      method: "GET",
      path: collection,
      permit: requireManager,
      async handle({ caller, query }) {
        const page = await apiKeys.list(await caller(), parsePage(query));
        return {
          cursor: page.cursor ?? null,
          total_count: page.totalCount,
          items: page.items.map(toJson),
        };
      },
    },
    {
      method: "POST",
      path: collection,
      permit: requireManager,
      maxItems: MAX_ORIGINS,
      async handle({ caller, json }) {
        const settings = parseSettings((await json()) ?? {});
        return toJson(await apiKeys.create(await caller(), settings));
      },
    },
    {
      method: "GET",
      path: item,
      permit: requireManager,
      async handle({ caller, params: { key_id = "" } }) {
        const revealed = await apiKeys.get(await caller(), key_id);
        // MapTiler knows no restoring: there a deleted key is gone.
        if (revealed.key.deleted !== undefined) throw notFound("API key");
        return toJson(revealed);
      },
    },
    {
      method: "DELETE",
      path: item,
      permit: requireManager,
      async handle({ caller, params: { key_id = "" } }) {
        await apiKeys.delete(await caller(), key_id);
        return {};
      },
    },
    {
      method: "POST",
      path: /^\/v1\/api_keys\/(?<key_id>[^/]+)\/change_settings\/?$/,
      permit: requireManager,
      maxItems: MAX_ORIGINS,
      async handle({ caller, json, params: { key_id = "" } }) {
        const change = parseSettings((await json()) ?? {});
        return toJson(await apiKeys.update(await caller(), key_id, change));
      },
    },
  ];
}

function parsePage(query: URLSearchParams): ListRequest {
  const given = query.get("limit");
  if (given !== null && !/^\d{1,3}$/.test(given))
    throw invalid("limit", "must be a whole number from 10 to 100");
  const limit = given === null ? DEFAULT_PAGE_LIMIT : Number(given);
  if (limit === 0) throw invalid("limit", "must be a whole number from 10 to 100");
  checked(ListApiKeysRequestSchema, { limit });
  return { limit, cursor: query.get("cursor") || undefined };
}

function parseSettings(body: unknown): ApiKeyChange {
  const parsed = settings.safeParse(body);
  if (!parsed.success) throw invalidBody(parsed.error);
  const { name, description, user_agent: userAgent, origins } = parsed.data;
  const given = { name, description, userAgent, origins };
  checked(ApiKeySchema, Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null)));
  return given;
}

const invalidBody = ({ issues }: z.ZodError): DomainError =>
  invalidFields(issues.map(({ path, message }) => ({ field: toPath(path) || "body", description: message })));

const toPath = (path: readonly PropertyKey[]): string =>
  path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`))
    .join("")
    .replace(/^\./, "");

const toJson = ({ key, token }: RevealedApiKey) => ({
  id: key.id,
  // MapTiler has no field for a token that can't be decrypted. An empty one would look like a key that works.
  token: token ?? null,
  name: key.name,
  description: key.description || null,
  user_agent: key.userAgent || null,
  origins: key.origins,
  created: key.created.toISOString(),
  changed: key.changed.toISOString(),
});
