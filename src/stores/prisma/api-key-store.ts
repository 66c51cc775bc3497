import type { ApiKey, ApiKeyStore, ApiKeyTransaction } from "../../domain/api-keys/api-key.js";
import { ConcurrentChangeError } from "../../domain/store.js";
import type { ApiKey as ApiKeyModel } from "../../gen/prisma/client.js";
import type { Database, Statements } from "./database.js";
import { pageArguments, toPage } from "./paging.js";

/** What is stored of a key; `seq` is the database's own. */
type ApiKeyRow = Omit<ApiKeyModel, "seq">;

export function createPrismaApiKeyStore({ prisma }: Pick<Database, "prisma">): ApiKeyStore {
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
      const { position, order } = pageArguments(page);
      const where = { accountId, deleted: null, ...position };
      const rows = await prisma.apiKey.findMany({ where, ...order });
      return toPage(rows, page, toApiKey);
    },
    listAll: async ({ limit, after }) => {
      const where = after === undefined ? {} : { id: { gt: after } };
      const order = { orderBy: { id: "asc" }, take: limit } as const;
      const rows = await prisma.apiKey.findMany({ where, ...order });
      return rows.map(toApiKey);
    },
    count: async (id) => {
      const select = { apiKeyCount: true };
      const account = await prisma.account.findUnique({ where: { id }, select });
      return account?.apiKeyCount ?? 0;
    },
  };
}

export function createPrismaApiKeyTransaction(client: Statements): ApiKeyTransaction {
  return {
    ...createPrismaApiKeyStore({ prisma: client }),
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
