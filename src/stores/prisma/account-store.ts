import type { Account, AccountStore } from "../../domain/accounts/account.js";
import type { Account as AccountRow } from "../../gen/prisma/client.js";
import type { Database } from "./database.js";
import { translateErrors } from "./errors.js";
import { pageArguments, toPage } from "./paging.js";

export function createPrismaAccountStore({ prisma }: Database): AccountStore {
  return {
    insert: async ({ id, name, created }) => {
      await translateErrors(() => prisma.account.create({ data: { id, name, created } }));
    },
    read: async (id) => {
      const row = await translateErrors(() => prisma.account.findUnique({ where: { id } }));
      return row ? toAccount(row) : undefined;
    },
    readByName: async (name) => {
      // No account can have such a name, and PostgreSQL would refuse the statement.
      if (name.includes("\0")) return undefined;
      const row = await translateErrors(() => prisma.account.findUnique({ where: { name } }));
      return row ? toAccount(row) : undefined;
    },
    readSole: async () => {
      const [first, second] = await translateErrors(() => prisma.account.findMany({ take: 2 }));
      return first && !second ? toAccount(first) : undefined;
    },
    list: async (page) => {
      const { position, order } = pageArguments(page);
      const rows = await translateErrors(() => prisma.account.findMany({ where: position, ...order }));
      return toPage(rows, page, toAccount);
    },
  };
}

const toAccount = ({ id, name, created }: AccountRow): Account => ({ id, name, created });
