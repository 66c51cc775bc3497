import type { Account, AccountStore, AccountTransaction } from "../../domain/accounts/account.js";
import type { Account as AccountRow } from "../../gen/prisma/client.js";
import type { Database, Statements } from "./database.js";
import { pageArguments, toPage } from "./paging.js";

export function createPrismaAccountStore({ prisma }: Pick<Database, "prisma">): AccountStore {
  return {
    read: async (id) => {
      const row = await prisma.account.findUnique({ where: { id } });
      return row ? toAccount(row) : undefined;
    },
    readByName: async (name) => {
      // No account can have such a name, and PostgreSQL would refuse the statement.
      if (name.includes("\0")) return undefined;
      const row = await prisma.account.findUnique({ where: { name } });
      return row ? toAccount(row) : undefined;
    },
    readSole: async () => {
      const [first, second] = await prisma.account.findMany({ take: 2 });
      return first && !second ? toAccount(first) : undefined;
    },
    list: async (page) => {
      const { position, order } = pageArguments(page);
      const rows = await prisma.account.findMany({ where: position, ...order });
      return toPage(rows, page, toAccount);
    },
  };
}

export function createPrismaAccountTransaction(client: Statements): AccountTransaction {
  return {
    ...createPrismaAccountStore({ prisma: client }),
    insert: async (account) => {
      // One after the other, until the end of the transaction: of two at once each would take itself for the only one.
      await client.$executeRaw`SELECT pg_advisory_xact_lock(hashtext('tilegate accounts'))`;
      const { id, name, created } = account;
      await client.account.createMany({ data: [{ id, name, created }] });
    },
  };
}

const toAccount = ({ id, name, created }: AccountRow): Account => ({ id, name, created });
