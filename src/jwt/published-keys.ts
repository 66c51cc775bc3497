import { createRemoteJWKSet, errors, type JWTVerifyGetKey } from "jose";
import type { Clock } from "../domain/clock.js";
import { unavailable } from "../domain/errors.js";

export interface PublishedKeysOptions {
  /** Where the identity provider publishes its JSON Web Key Set. */
  readonly url: URL;
  readonly clock: Clock;
  /** How long to wait for the key set. */
  readonly timeoutMs: number;
}

// A key that was withdrawn is accepted for this long.
const MAX_AGE_MS = 600_000;

// Anybody can send tokens with ids of keys that don't exist: they make no more fetches than this.
const COOLDOWN_MS = 30_000;

// After a failure. A provider that restarts is back in seconds, so the first pause hardly makes an outage longer; one
// that stays away gets no more requests than for unknown keys, however many tokens come.
const FIRST_PAUSE_MS = 5_000;
const LONGEST_PAUSE_MS = 30_000;

/** Of the last fetch. */
interface Failure {
  readonly cause: unknown;
  readonly pauseMs: number;
  readonly endMs: number;
}

const KEYS = "the identity provider's keys";

/**
 * Finds the published key that a token names. The keys are fetched on first use, kept for 10 minutes, and fetched again
 * for an unknown `kid`, at most every 30 seconds; all tokens that wait share one fetch. After a fetch that failed there
 * is none for 5 seconds, for 10 if the next fails too, and so on to 30: tokens that need one are unavailable at once.
 *
 * @throws DomainError unavailable when the keys can't be fetched or used. Jose's errors for no and for several keys
 * that match.
 */
export function createPublishedKeys({ url, clock, timeoutMs }: PublishedKeysOptions): JWTVerifyGetKey {
  // When to fetch is decided here, by our clock; the keys that it has never age for jose.
  const keySet = createRemoteJWKSet(url, {
    timeoutDuration: timeoutMs,
    cacheMaxAge: Number.POSITIVE_INFINITY,
    cooldownDuration: Number.POSITIVE_INFINITY,
  });
  const nowMs = () => clock().getTime();
  let fetchedMs = Number.NEGATIVE_INFINITY;
  let fetching: Promise<void> | undefined;
  let failure: Failure | undefined;

  function fetchKeys(): Promise<void> {
    if (failure && nowMs() < failure.endMs) return Promise.reject(keysUnavailable(failure));
    fetching ??= keySet
      .reload()
      .then(succeed, fail)
      .finally(() => {
        fetching = undefined;
      });
    return fetching;
  }

  function succeed(): void {
    fetchedMs = nowMs();
    failure = undefined;
  }

  function fail(cause: unknown): never {
    const pauseMs = failure ? Math.min(2 * failure.pauseMs, LONGEST_PAUSE_MS) : FIRST_PAUSE_MS;
    failure = { cause, pauseMs, endMs: nowMs() + pauseMs };
    throw keysUnavailable(failure);
  }

  const keysUnavailable = ({ cause, endMs }: Failure) =>
    unavailable(KEYS, cause, Math.ceil((endMs - nowMs()) / 1000));

  const findKey: JWTVerifyGetKey = (header, token) =>
    keySet(header, token).catch((error: unknown) => {
      const unknownKey =
        error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys;
      throw unknownKey ? error : unavailable(KEYS, error);
    });

  return async (header, token) => {
    if (nowMs() >= fetchedMs + MAX_AGE_MS) await fetchKeys();
    try {
      return await findKey(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || nowMs() < fetchedMs + COOLDOWN_MS) throw error;
      await fetchKeys();
      return findKey(header, token);
    }
  };
}
