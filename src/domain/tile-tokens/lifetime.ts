export interface TokenLifetime {
  /** Length of a window: tokens expire at its multiples, so that all tokens of a window are equal. */
  readonly ttlSeconds: number;
  /** A token lives at least this long: one that was minted just before a boundary expires at the next. */
  readonly minValiditySeconds: number;
}

/** The expiry of a token minted at `nowSeconds`: Unix seconds. */
export function expiryAt(nowSeconds: number, { ttlSeconds, minValiditySeconds }: TokenLifetime): number {
  const next = (Math.floor(nowSeconds / ttlSeconds) + 1) * ttlSeconds;
  return next - nowSeconds < minValiditySeconds ? next + ttlSeconds : next;
}
