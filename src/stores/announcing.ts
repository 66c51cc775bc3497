import type { Transaction, UnitOfWork } from "../domain/unit-of-work.js";

/** Follows the writes of a transaction, to announce them when it is committed. */
export type Follow<Writes> = (writes: Writes) => Followed<Writes>;

export interface Followed<Writes> {
  /** To be used in the place of what is followed. */
  readonly writes: Writes;
  /** Tells all replicas of what went through `writes`, at once. Never rejects. */
  announce(): Promise<void>;
}

/** For what changes one store and shows in two caches. */
export function followBoth<Writes>(first: Follow<Writes>, second: Follow<Writes>): Follow<Writes> {
  return (writes) => {
    const ofFirst = first(writes);
    const ofSecond = second(ofFirst.writes);
    return {
      writes: ofSecond.writes,
      announce: async () => void (await Promise.all([ofFirst.announce(), ofSecond.announce()])),
    };
  };
}

/** What follows each store of a transaction: none can be left out. */
export type Followers = { readonly [Store in keyof Transaction]: Follow<Transaction[Store]> };

/** `unitOfWork`, whose writes are announced once they are committed, and before they are acknowledged. */
export function withAnnouncements(unitOfWork: UnitOfWork, follow: Followers): UnitOfWork {
  return {
    async write(work) {
      // Of the attempt that was committed, which is the last.
      let followed: readonly Pick<Followed<unknown>, "announce">[] = [];
      const result = await unitOfWork.write((transaction) => {
        const accounts = follow.accounts(transaction.accounts);
        const serviceTokens = follow.serviceTokens(transaction.serviceTokens);
        const apiKeys = follow.apiKeys(transaction.apiKeys);
        const datasets = follow.datasets(transaction.datasets);
        followed = [accounts, serviceTokens, apiKeys, datasets];
        return work({
          accounts: accounts.writes,
          serviceTokens: serviceTokens.writes,
          apiKeys: apiKeys.writes,
          datasets: datasets.writes,
        });
      });
      await Promise.all(followed.map((each) => each.announce()));
      return result;
    },
  };
}
