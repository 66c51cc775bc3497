import { retryLostRaces, type Transaction, type UnitOfWork } from "../../domain/unit-of-work.js";
import { createPrismaAccountTransaction } from "./account-store.js";
import { createPrismaApiKeyTransaction } from "./api-key-store.js";
import type { Database, Statements } from "./database.js";
import { createPrismaDatasetTransaction } from "./dataset-store.js";
import { createPrismaServiceTokenTransaction } from "./service-token-store.js";

export function createPrismaUnitOfWork({ transaction }: Pick<Database, "transaction">): UnitOfWork {
  return { write: (work) => retryLostRaces(() => transaction((client) => work(toTransaction(client)))) };
}

const toTransaction = (client: Statements): Transaction => ({
  accounts: createPrismaAccountTransaction(client),
  serviceTokens: createPrismaServiceTokenTransaction(client),
  apiKeys: createPrismaApiKeyTransaction(client),
  datasets: createPrismaDatasetTransaction(client),
});
