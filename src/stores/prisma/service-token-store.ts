import type { ServiceToken, ServiceTokenStore } from "../../domain/accounts/account.js";
import type { ServiceToken as ServiceTokenRow } from "../../gen/prisma/client.js";
import type { Database } from "./database.js";
import { translateErrors } from "./errors.js";
import { pageArguments, toPage } from "./paging.js";

export function createPrismaServiceTokenStore({ prisma }: Database): ServiceTokenStore {
  const read: ServiceTokenStore["read"] = async (id) => {
    const row = await translateErrors(() => prisma.serviceToken.findUnique({ where: { id } }));
    return row ? toServiceToken(row) : undefined;
  };
  return {
    insert: async ({ id, accountId, name, secretHash, created, expireTime, revoked }) => {
      const data = {
        id,
        accountId,
        name,
        secretHash: Uint8Array.from(secretHash),
        created,
        expireTime: expireTime ?? null,
        revoked: revoked ?? null,
      };
      await translateErrors(() => prisma.serviceToken.create({ data }));
    },
    read,
    readBySecretHash: async (secretHash) => {
      const where = { secretHash: Uint8Array.from(secretHash) };
      const row = await translateErrors(() => prisma.serviceToken.findUnique({ where }));
      return row ? toServiceToken(row) : undefined;
    },
    list: async (accountId, page) => {
      const { position, order } = pageArguments(page);
      const where = { accountId, ...position };
      const rows = await translateErrors(() => prisma.serviceToken.findMany({ where, ...order }));
      return toPage(rows, page, toServiceToken);
    },
    revoke: async (id, at) => {
      const change = { where: { id, revoked: null }, data: { revoked: at } };
      await translateErrors(() => prisma.serviceToken.updateMany(change));
      return read(id);
    },
  };
}

function toServiceToken(row: ServiceTokenRow): ServiceToken {
  const { id, accountId, name, secretHash, created, expireTime, revoked } = row;
  return {
    id,
    accountId,
    name,
    secretHash,
    created,
    ...(expireTime ? { expireTime } : {}),
    ...(revoked ? { revoked } : {}),
  };
}
