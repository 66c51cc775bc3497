import { unixSeconds } from "../clock.js";
import type { Dataset } from "../datasets/dataset.js";
import { DomainError } from "../errors.js";
import { expiryAt, latestExpiryAt, type TokenLifetime } from "./lifetime.js";

/**
 * Until which expiry tokens of a dataset must be refused for every one that was issued until now: Unix seconds. Those that are issued
 * from now on expire later, by which they are told apart.
 * @throws DomainError resource_exhausted REVOKED_TOO_OFTEN where these would live longer than two windows: a second later they
 *   would not.
 */
export function revocationAt(
  { revokedUntilExp }: Pick<Dataset, "revokedUntilExp">,
  now: Date,
  lifetime: TokenLifetime,
): number {
  const seconds = unixSeconds(now);
  const latestIssued = expiryAt(seconds, lifetime, revokedUntilExp);
  if (latestIssued >= latestExpiryAt(seconds, lifetime)) throw revokedTooOften();
  return latestIssued;
}

const revokedTooOften = () =>
  new DomainError(
    "resource_exhausted",
    "REVOKED_TOO_OFTEN",
    "the dataset's tokens were revoked too often within their lifetime, try again",
    { retryAfterSeconds: 1 },
  );
