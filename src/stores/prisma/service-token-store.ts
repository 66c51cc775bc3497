import type {
  ServiceToken,
  ServiceTokenStore,
  ServiceTokenTransaction,
} from "../../domain/accounts/account.js";
import type { ServiceToken as ServiceTokenRow } from "../../gen/prisma/client.js";
import type { Database, Statements } from "./database.js";
import { pageArguments, toPage } from "./paging.js";

export function createPrismaServiceTokenStore({ prisma }: Pick<Database, "prisma">): ServiceTokenStore {
  return {
    read: async (id) => {
      const row = await prisma.serviceToken.findUnique({ where: { id } });
      return row ? toServiceToken(row) : undefined;
    },
    readBySecretHash: async (secretHash) => {
      const where = { secretHash: Uint8Array.from(secretHash) };
      const row = await prisma.serviceToken.findUnique({ where });
      return row ? toServiceToken(row) : undefined;
    },
    list: async (accountId, page) => {
      const { position, order } = pageArguments(page);
      const where = { accountId, ...position };
      const rows = await prisma.serviceToken.findMany({ where, ...order });
      return toPage(rows, page, toServiceToken);
    },
  };
}

export function createPrismaServiceTokenTransaction(client: Statements): ServiceTokenTransaction {
  const store = createPrismaServiceTokenStore({ prisma: client });
  return {
    ...store,
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
      await client.serviceToken.createMany({ data: [data] });
    },
    revoke: async (id, at) => {
      const change = { where: { id, revoked: null }, data: { revoked: at } };
      await client.serviceToken.updateMany(change);
      return store.read(id);
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
