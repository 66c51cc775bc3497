import { createHash, timingSafeEqual } from "node:crypto";
import type { AccountCache, ServiceTokenCache } from "../accounts/account.js";
import type { ApiKeyRefusal } from "../api-keys/restrictions.js";
import type { ApiKeyRequest, ApiKeyVerification } from "../api-keys/verification.js";
import type { Clock } from "../clock.js";
import { DomainError, type ErrorReason } from "../errors.js";
import type { Caller, Principal } from "../identity/principal.js";
import { hashSecret, isWellFormedSecret } from "../identity/secret.js";
import { canonicalUuid, isUuid } from "../uuid.js";
import type { JwtVerifier } from "./jwt.js";

/**
 * The credentials of one request, as sent. Absent means that the header was not there. Of a header that is there more than
 * once no value is picked: what stands for it is none that could resolve.
 */
export interface Credentials {
  /** The Authorization header. */
  readonly authorization?: string | undefined;
  /** The X-Api-Key header, or `key` of the query where a door allows it. */
  readonly apiKey?: string | undefined;
  /** Where the request comes from, which an API key may be locked to. */
  readonly source: ApiKeyRequest;
}

/** The outcome of resolving credentials. */
export interface Authentication {
  /** Everybody that the credentials stand for; nobody (anonymous) only when none was sent. */
  readonly caller: Caller;
  /** For how the same credentials may be taken for the same caller again. Absent: they must be resolved again. */
  readonly reuse?: Reuse | undefined;
}

export interface Reuse {
  /** When the first of the credentials expires. Absent: none does. */
  readonly until?: Date | undefined;
  /** To be called at each use. */
  note(at: Date): void;
}

export interface Authenticator {
  /**
   * @param isAgain Whether it is for the same request once more: a use that is counted is counted already.
   * @throws DomainError unauthenticated when a credential was sent and does not resolve: it is never taken for
   * anonymous. unavailable when that can't be told now.
   */
  authenticate(credentials: Credentials, isAgain?: boolean): Promise<Authentication>;
}

export interface AuthenticatorOptions {
  readonly operatorToken?: string | undefined;
  /** Absent: JWTs are refused. */
  readonly jwtVerifier?: JwtVerifier | undefined;
  /** Users with this role administrate their account. */
  readonly adminRole: string;
  readonly accounts: AccountCache;
  readonly serviceTokens: ServiceTokenCache;
  readonly apiKeys: Pick<ApiKeyVerification, "resolve">;
  readonly clock: Clock;
}

/** An API key that is not valid for the request. Its message is the same whatever the refusal, for the public. */
export class ApiKeyRefusedError extends DomainError {
  constructor(readonly refusal: ApiKeyRefusal) {
    super("unauthenticated", "API_KEY_REFUSED", "The API key is not valid for this request");
  }
}

// No message may echo a credential, so these are all the messages there are.
const refuse = (reason: ErrorReason, message: string) => new DomainError("unauthenticated", reason, message);

export function createAuthenticator(options: AuthenticatorOptions): Authenticator {
  const { jwtVerifier, adminRole, accounts, serviceTokens, apiKeys, clock } = options;
  const isOperatorToken = tokenMatcher(options.operatorToken);

  async function fromAuthorization(header: string): Promise<Resolved> {
    const [scheme = "", token = "", ...rest] = header.split(/ +/);
    if (token === "" || rest.length > 0) {
      throw refuse("CREDENTIAL_MALFORMED", "The Authorization header is malformed");
    }
    switch (scheme.toLowerCase()) {
      case "token":
        return fromServiceToken(token);
      case "bearer":
        if (isOperatorToken(token)) return { principal: { type: "operator" } };
        return token.startsWith("tgs_") ? fromServiceToken(token) : fromJwt(token);
      default:
        throw refuse("SCHEME_UNSUPPORTED", "The Authorization scheme must be Bearer or Token");
    }
  }

  async function fromServiceToken(secret: string): Promise<Resolved> {
    const wellFormed = isWellFormedSecret("tgs_", secret);
    const token = wellFormed ? await serviceTokens.lookUp(hashSecret(secret)) : undefined;
    if (token === undefined) throw refuse("SERVICE_TOKEN_INVALID", "The service token is not valid");
    if (token.revoked !== undefined) throw refuse("SERVICE_TOKEN_REVOKED", "The service token is revoked");
    if (token.expireTime !== undefined && token.expireTime <= clock()) {
      throw refuse("SERVICE_TOKEN_EXPIRED", "The service token has expired");
    }
    const principal = { type: "service", accountId: token.accountId, serviceTokenId: token.id } as const;
    return { principal, until: token.expireTime };
  }

  async function fromJwt(token: string): Promise<Resolved> {
    if (jwtVerifier === undefined) throw refuse("JWT_NOT_ACCEPTED", "The bearer token is not valid");
    const claims = await jwtVerifier.verify(token);
    const roles = new Set(claims.roles);
    const principal = {
      type: "user",
      accountId: await accountOf(claims.account),
      subject: claims.subject,
      roles,
      admin: roles.has(adminRole),
    } as const;
    return { principal, until: claims.expires };
  }

  /**
   * The issuer is trusted with the account's id, so an id costs no look-up and works while the database is away.
   * A name must be an account's; no claim at all will do where only one account exists.
   */
  async function accountOf(claim: string | undefined): Promise<string> {
    if (claim !== undefined && isUuid(claim)) return canonicalUuid(claim);
    const account = claim === undefined ? await accounts.lookUpSole() : await accounts.lookUpByName(claim);
    if (account === undefined) {
      throw refuse("ACCOUNT_UNKNOWN", "The token's account claim names no account of this installation");
    }
    return account.id;
  }

  /** The public learns that a key is refused, never why: VerifyApiKey tells its managers. */
  async function fromApiKey(token: string, source: ApiKeyRequest, isAgain: boolean): Promise<Resolved> {
    const verdict = await apiKeys.resolve(token, source, isAgain);
    if (verdict.valid) {
      const { principal, expireTime: until, reuse } = verdict;
      return reuse ? { principal, until, note: reuse } : { principal, once: true };
    }
    if (verdict.refusal === "rate_limited") {
      throw new DomainError("resource_exhausted", "API_KEY_RATE_LIMITED", "The API key was used too often", {
        retryAfterSeconds: verdict.retryAfterSeconds,
      });
    }
    throw new ApiKeyRefusedError(verdict.refusal);
  }

  return {
    async authenticate({ authorization, apiKey, source }, isAgain = false) {
      const resolved: Resolved[] = [];
      if (authorization !== undefined) resolved.push(await fromAuthorization(authorization));
      if (apiKey !== undefined) resolved.push(await fromApiKey(apiKey, source, isAgain));
      return { caller: resolved.map(({ principal }) => principal), reuse: reuseOf(resolved) };
    },
  };
}

/** What one credential stands for. */
interface Resolved {
  readonly principal: Principal;
  /** When it expires. */
  readonly until?: Date | undefined;
  /** Notes another use of it. */
  readonly note?: (at: Date) => void;
  /** Each use must be resolved anew. */
  readonly once?: true;
}

function reuseOf(resolved: readonly Resolved[]): Reuse | undefined {
  if (resolved.some(({ once }) => once)) return undefined;
  const expiries = resolved.flatMap(({ until }) => until ?? []);
  return {
    until: expiries.reduce<Date | undefined>(
      (first, time) => (first && first < time ? first : time),
      undefined,
    ),
    note(at) {
      for (const { note } of resolved) note?.(at);
    },
  };
}

/** Compares digests, so that the time taken tells neither the token's length nor how much of it matched. */
function tokenMatcher(expected: string | undefined): (token: string) => boolean {
  if (expected === undefined) return () => false;
  const digest = (text: string) => createHash("sha256").update(text).digest();
  const expectedDigest = digest(expected);
  return (token) => timingSafeEqual(digest(token), expectedDigest);
}
