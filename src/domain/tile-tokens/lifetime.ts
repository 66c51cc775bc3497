export interface TokenLifetime {
  /** Length of a window: tokens expire at its multiples, so that all tokens of a window are equal. */
  readonly ttlSeconds: number;
  /** A token lives at least this long: one that was minted just before a boundary expires at the next. */
  readonly minValiditySeconds: number;
}

/**
 * The expiry of a token minted at `nowSeconds`: Unix seconds.
 * @param revokedUntilExp Of its dataset: its tokens expire later than any that was revoked, by which both are told apart.
 */
export function expiryAt(
  nowSeconds: number,
  { ttlSeconds, minValiditySeconds }: TokenLifetime,
  revokedUntilExp = 0,
): number {
  const next = (Math.floor(nowSeconds / ttlSeconds) + 1) * ttlSeconds;
  const usual = next - nowSeconds < minValiditySeconds ? next + ttlSeconds : next;
  return Math.max(usual, revokedUntilExp + 1);
}

/** The latest expiry that a token may ever have: revoking as often as one likes must not lengthen lives without end. */
export const latestExpiryAt = (nowSeconds: number, { ttlSeconds }: TokenLifetime): number =>
  nowSeconds + 2 * ttlSeconds;
