/** Verifies what the identity provider signed. */
export interface JwtVerifier {
  /**
   * The claims of a token that is valid now.
   * @throws DomainError unauthenticated with reason TOKEN_EXPIRED, TOKEN_NOT_YET_VALID or TOKEN_INVALID, and
   * unavailable while the identity provider's keys can't be had.
   */
  verify(token: string): Promise<JwtClaims>;
}

export interface JwtClaims {
  /** The `sub` claim, never empty. */
  readonly subject: string;
  /** The account claim as it stands in the token, never empty. Absent where the token names no account. */
  readonly account?: string;
  readonly roles: readonly string[];
  /** The token is refused from this moment on: whoever keeps the claims must check it on every use. */
  readonly expires: Date;
}
