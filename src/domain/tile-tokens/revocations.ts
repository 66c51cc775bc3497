import { type Clock, unixSeconds } from "../clock.js";
import type { Dataset, DatasetStore, Revocation } from "../datasets/dataset.js";
import { DomainError, notFound } from "../errors.js";
import { manages, requireManager } from "../identity/management.js";
import type { Caller } from "../identity/principal.js";
import type { UnitOfWork } from "../unit-of-work.js";
import { expiryAt, latestExpiryAt, type TokenLifetime } from "./lifetime.js";

/** Refusing tokens that are out. */
export interface TileTokenRevocations {
  /**
   * Refuses every token of a dataset that was issued until now. Those that are issued from now on expire later, by which they are
   * told apart.
   * @param id Canonical.
   * @returns Tokens whose `exp` is at or before this are refused: Unix seconds.
   * @throws DomainError for callers who may not, not_found for datasets that they don't manage; resource_exhausted
   *   REVOKED_TOO_OFTEN where further tokens would live longer than two windows: a second later they would not.
   */
  revoke(caller: Caller, id: string): Promise<number>;
  /** All that is refused and would else be alive now. */
  list(): Promise<readonly Revocation[]>;
}

export interface TileTokenRevocationsOptions {
  readonly unitOfWork: UnitOfWork;
  readonly datasets: Pick<DatasetStore, "readRevocations">;
  readonly lifetime: TokenLifetime;
  readonly clock: Clock;
}

export function createTileTokenRevocations(options: TileTokenRevocationsOptions): TileTokenRevocations {
  const { unitOfWork, datasets, lifetime, clock } = options;
  return {
    async revoke(caller, id) {
      const scope = requireManager(caller);
      return unitOfWork.write(async (transaction) => {
        const current = (await transaction.datasets.readMany([id])).get(id);
        if (current === undefined || !manages(scope, current.accountId)) throw notFound("dataset");
        const now = clock();
        const revokedUntilExp = latestIssued(current, now, lifetime);
        if (revokedUntilExp >= latestExpiryAt(unixSeconds(now), lifetime)) throw revokedTooOften();
        const revision = current.revision + 1;
        await transaction.datasets.save([{ ...current, revokedUntilExp, revision, changed: now }]);
        return revokedUntilExp;
      });
    },

    list: () => datasets.readRevocations(unixSeconds(clock())),
  };
}

/** The latest expiry of all tokens of a dataset that were issued until now: Unix seconds. */
export const latestIssued = (
  { revokedUntilExp }: Pick<Dataset, "revokedUntilExp">,
  now: Date,
  lifetime: TokenLifetime,
): number => expiryAt(unixSeconds(now), lifetime, revokedUntilExp);

const revokedTooOften = () =>
  new DomainError(
    "resource_exhausted",
    "REVOKED_TOO_OFTEN",
    "the dataset's tokens were revoked too often within their lifetime, try again",
    { retryAfterSeconds: 1 },
  );
