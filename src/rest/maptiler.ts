import { z } from "zod";
import type { ApiKeys, RevealedApiKey } from "../domain/api-keys/api-keys.js";
import type { ApiKeyChange } from "../domain/api-keys/settings.js";
import { type DomainError, invalid, invalidFields, notFound } from "../domain/errors.js";
import { requireManager } from "../domain/identity/management.js";
import { DEFAULT_PAGE_LIMIT, type ListRequest } from "../domain/page.js";
import { SAME_ORIGIN } from "../front/answer-headers.js";
import { ApiKeySchema } from "../gen/proto/tilegate/v1/api_key_pb.js";
import { ListApiKeysRequestSchema } from "../gen/proto/tilegate/v1/api_key_service_pb.js";
import { checked, listLimits } from "../schema/validate.js";
import type { RestRoute } from "./route.js";

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

const key = z.strictObject({
  id: z.uuid(),
  token: z.string().nullable(),
  name: z.string(),
  description: z.string().nullable(),
  user_agent: z.string().nullable(),
  origins: z.array(z.string()),
  created: z.iso.datetime(),
  changed: z.iso.datetime(),
});

const page = z.strictObject({ cursor: z.string().nullable(), total_count: z.int(), items: z.array(key) });

/** MapTiler's API key routes: its paths, shapes and null semantics, so that its clients work unchanged. */
export function createMapTilerRoutes(apiKeys: ApiKeys): RestRoute[] {
  const managed = { policy: SAME_ORIGIN, permit: requireManager } as const;
  const collection = { ...managed, path: "/v1/api_keys", aliases: ["/v1/api_keys/"] };
  const item = { ...managed, path: "/v1/api_keys/{key_id}", aliases: ["/v1/api_keys/{key_id}/"] };
  return [
    {
      ...collection,
      name: "maptiler.list_keys",
      method: "GET",
      response: page,
      async handle({ caller, query }) {
        const { items, cursor, totalCount } = await apiKeys.list(caller, parsePage(query));
        return { cursor: cursor ?? null, total_count: totalCount, items: items.map(toJson) };
      },
    },
    {
      ...collection,
      name: "maptiler.create_key",
      method: "POST",
      maxItems: MAX_ORIGINS,
      request: settings,
      response: key,
      async handle({ caller, json }) {
        return toJson(await apiKeys.create(caller, parseSettings(json() ?? {})));
      },
    },
    {
      ...item,
      name: "maptiler.get_key",
      method: "GET",
      response: key,
      async handle({ caller, params: { key_id = "" } }) {
        const revealed = await apiKeys.get(caller, key_id);
        // MapTiler knows no restoring: there a deleted key is gone.
        if (revealed.key.deleted !== undefined) throw notFound("API key");
        return toJson(revealed);
      },
    },
    {
      ...item,
      name: "maptiler.delete_key",
      method: "DELETE",
      response: z.strictObject({}),
      async handle({ caller, params: { key_id = "" } }) {
        await apiKeys.delete(caller, key_id);
        return {};
      },
    },
    {
      ...managed,
      name: "maptiler.change_settings",
      method: "POST",
      path: "/v1/api_keys/{key_id}/change_settings",
      aliases: ["/v1/api_keys/{key_id}/change_settings/"],
      maxItems: MAX_ORIGINS,
      request: settings,
      response: key,
      async handle({ caller, json, params: { key_id = "" } }) {
        return toJson(await apiKeys.update(caller, key_id, parseSettings(json() ?? {})));
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
