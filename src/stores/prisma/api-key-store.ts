import type { ApiKey, ApiKeyStore, ApiKeyTransaction } from "../../domain/api-keys/api-key.js";
import { ConcurrentChangeError } from "../../domain/store.js";
import type { ApiKey as ApiKeyModel } from "../../gen/prisma/client.js";
import { type Database, readJsonWithin, type Statements } from "./database.js";
import type { JsonQuery } from "./driver.js";
import { type Columns, jsonRows } from "./json-rows.js";
import { rowsOf, toPage } from "./paging.js";

/** What is stored of a key; `seq` is the database's own. */
type ApiKeyRow = Omit<ApiKeyModel, "seq">;

const COLUMNS: Columns<ApiKeyModel> = {
  id: ["id", "uuid"],
  seq: ["seq", "int8"],
  accountId: ["account_id", "uuid"],
  name: ["name", "text"],
  description: ["description", "text"],
  userAgent: ["user_agent", "text"],
  origins: ["origins", "text[]"],
  allowedIps: ["allowed_ips", "text[]"],
  enabled: ["enabled", "bool"],
  expireTime: ["expire_time", "timestamptz"],
  datasetIds: ["dataset_ids", "uuid[]"],
  rateLimitRequests: ["rate_limit_requests", "int4"],
  rateLimitWindowSeconds: ["rate_limit_window_seconds", "int4"],
  currentHash: ["current_hash", "bytea"],
  currentCiphertext: ["current_ciphertext", "bytea"],
  previousHash: ["previous_hash", "bytea"],
  previousCiphertext: ["previous_ciphertext", "bytea"],
  previousExpireTime: ["previous_expire_time", "timestamptz"],
  created: ["created", "timestamptz"],
  changed: ["changed", "timestamptz"],
  lastUsed: ["last_used", "timestamptz"],
  deleted: ["deleted", "timestamptz"],
  revision: ["revision", "int4"],
};

const ROWS = jsonRows(COLUMNS);

// A page of 50 is most of what a listing costs.
const LIST: JsonQuery = {
  name: "list_api_keys",
  text: `
    SELECT json_build_object(
      'totalCount', coalesce((SELECT api_key_count FROM accounts WHERE id = $1::uuid), 0),
      'rows', coalesce(json_agg(item ORDER BY seq DESC), '[]')
    )::text AS json
    FROM (
      SELECT seq, ${ROWS.sql} AS item FROM api_keys
      WHERE account_id = $1::uuid AND deleted IS NULL AND seq < $2::int8
      ORDER BY seq DESC LIMIT $3::int4
    ) AS page`,
};

interface ListedRows {
  readonly totalCount: number;
  readonly rows: readonly (readonly unknown[])[];
}

/** No position is beyond it. */
const NEWEST = 2n ** 63n - 1n;

export function createPrismaApiKeyStore(database: Pick<Database, "prisma" | "readJson">): ApiKeyStore {
  const { prisma } = database;
  return {
    read: async (id) => {
      const row = await prisma.apiKey.findUnique({ where: { id } });
      return row ? toApiKey(row) : undefined;
    },
    readByTokenHash: async (lookupHashes) => {
      const hashes = { in: lookupHashes.map(toBytes) };
      const where = { OR: [{ currentHash: hashes }, { previousHash: hashes }] };
      const row = await prisma.apiKey.findFirst({ where });
      return row ? toApiKey(row) : undefined;
    },
    list: async (accountId, page) => {
      const values = [accountId, String(page.before ?? NEWEST), String(rowsOf(page))];
      const { rows, totalCount } = (await database.readJson(LIST, values)) as ListedRows;
      return { ...toPage(rows.map(ROWS.parse), page, toApiKey), totalCount };
    },
    listAll: async ({ limit, after }) => {
      const where = after === undefined ? {} : { id: { gt: after } };
      const order = { orderBy: { id: "asc" }, take: limit } as const;
      const rows = await prisma.apiKey.findMany({ where, ...order });
      return rows.map(toApiKey);
    },
  };
}

export function createPrismaApiKeyTransaction(client: Statements): ApiKeyTransaction {
  return {
    ...createPrismaApiKeyStore({ prisma: client, readJson: readJsonWithin(client) }),
    insert: async (key) => {
      await client.apiKey.createMany({ data: [toRow(key)] });
    },
    replace: async (key, former) => {
      const { lastUsed: _, ...data } = toRow(key);
      const where = { id: former.id, revision: former.revision };
      const { count } = await client.apiKey.updateMany({ where, data });
      if (count !== 1) throw new ConcurrentChangeError("the API key changed meanwhile");
    },
  };
}

function toRow({ current, previous, rateLimit, ...same }: ApiKey): ApiKeyRow {
  return {
    ...same,
    origins: [...same.origins],
    allowedIps: [...same.allowedIps],
    datasetIds: [...same.datasetIds],
    expireTime: same.expireTime ?? null,
    rateLimitRequests: rateLimit?.requests ?? null,
    rateLimitWindowSeconds: rateLimit?.windowSeconds ?? null,
    currentHash: toBytes(current.lookupHash),
    currentCiphertext: toBytes(current.ciphertext),
    previousHash: previous ? toBytes(previous.lookupHash) : null,
    previousCiphertext: previous ? toBytes(previous.ciphertext) : null,
    previousExpireTime: previous?.expireTime ?? null,
    lastUsed: same.lastUsed ?? null,
    deleted: same.deleted ?? null,
  };
}

function toApiKey(row: ApiKeyRow): ApiKey {
  const rateLimit = toRateLimit(row);
  const previous = toPrevious(row);
  return {
    id: row.id,
    accountId: row.accountId,
    name: row.name,
    description: row.description,
    userAgent: row.userAgent,
    origins: row.origins,
    allowedIps: row.allowedIps,
    enabled: row.enabled,
    ...(row.expireTime && { expireTime: row.expireTime }),
    datasetIds: row.datasetIds,
    ...(rateLimit && { rateLimit }),
    current: { lookupHash: row.currentHash, ciphertext: row.currentCiphertext },
    ...(previous && { previous }),
    created: row.created,
    changed: row.changed,
    ...(row.lastUsed && { lastUsed: row.lastUsed }),
    ...(row.deleted && { deleted: row.deleted }),
    revision: row.revision,
  };
}

function toRateLimit({ rateLimitRequests, rateLimitWindowSeconds }: ApiKeyRow): ApiKey["rateLimit"] {
  if (rateLimitRequests === null || rateLimitWindowSeconds === null) return undefined;
  return { requests: rateLimitRequests, windowSeconds: rateLimitWindowSeconds };
}

function toPrevious({ previousHash, previousCiphertext, previousExpireTime }: ApiKeyRow): ApiKey["previous"] {
  if (previousHash === null || previousCiphertext === null || previousExpireTime === null) return undefined;
  return { lookupHash: previousHash, ciphertext: previousCiphertext, expireTime: previousExpireTime };
}

/** Prisma's type of bytes: a copy, since a Buffer may be a part of shared memory. */
const toBytes = (bytes: Uint8Array) => Uint8Array.from(bytes);
