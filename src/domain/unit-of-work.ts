import type { AccountTransaction, ServiceTokenTransaction } from "./accounts/account.js";
import type { ApiKeyTransaction } from "./api-keys/api-key.js";
import type { DatasetTransaction } from "./datasets/dataset.js";
import { DomainError } from "./errors.js";
import { ConcurrentChangeError, DuplicateError } from "./store.js";

/** How managers' changes are written, all of them: one transaction for each, over all stores. */
export interface UnitOfWork {
  /**
   * Runs `work` in a transaction: what it saves is committed when it resolves, and undone when it rejects. When `write` resolves,
   * the change survives a crash, and no replica that hears announcements serves an older state.
   *
   * Where others changed the same meanwhile, `work` begins anew, in another transaction: it reads through that what it decides on.
   * Of the database it must use nothing else. The embedded one has a single connection, which would wait for itself.
   *
   * @throws what `work` throws; DomainError aborted (CONCURRENT_CHANGE) or unavailable.
   */
  write<T>(work: (transaction: Transaction) => Promise<T>): Promise<T>;
}

/** The stores within a transaction. What is to be committed along with a change, whatever its store, belongs here. */
export interface Transaction {
  readonly accounts: AccountTransaction;
  readonly serviceTokens: ServiceTokenTransaction;
  readonly apiKeys: ApiKeyTransaction;
  readonly datasets: DatasetTransaction;
}

/** So many writers would have to overtake one in a row. Those that keep losing to each other end rather than never. */
const MAX_ATTEMPTS = 10;

/** The optimistic loop of every UnitOfWork: who lost a race starts again. @throws DomainError aborted. */
export async function retryLostRaces<T>(attempt: () => Promise<T>): Promise<T> {
  for (let attempts = 1; ; attempts += 1) {
    try {
      return await attempt();
    } catch (error) {
      const lostRace = error instanceof ConcurrentChangeError || error instanceof DuplicateError;
      if (!lostRace) throw error;
      if (attempts === MAX_ATTEMPTS) {
        throw new DomainError("aborted", "CONCURRENT_CHANGE", "others are changing the same, try again", {
          cause: error,
        });
      }
    }
  }
}
