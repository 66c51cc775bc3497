import { createSecretKey } from "node:crypto";
import {
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  type JWTVerifyResult,
  jwtVerify,
} from "jose";
import type { JwtClaims, JwtVerifier } from "../domain/authentication/jwt.js";
import type { Clock } from "../domain/clock.js";
import { DomainError } from "../domain/errors.js";
import { hasDuplicateMember, isAcceptedType, isCanonicalJws } from "./jws-form.js";
import { createPublishedKeys } from "./published-keys.js";

/** Whose tokens are accepted, and what their claims are called. */
export type JwtTrust = JwtRules & (SharedSecret | PublishedKeys);

interface JwtRules {
  /** What `iss` must be. Absent: anything. */
  readonly issuer?: string | undefined;
  /** What `aud` must be or contain. Absent: anything. */
  readonly audience?: string | undefined;
  /** A claim's name; where no claim has it, a dotted path such as `realm_access.roles`. */
  readonly accountClaim: string;
  /** Likewise. The claim is an array of strings or one string of names with blanks between them. */
  readonly rolesClaim: string;
}

/** HS256 only. The key is the text's UTF-8 bytes. */
interface SharedSecret {
  readonly secret: string;
}

/** Asymmetric algorithms only. */
interface PublishedKeys {
  /** Where the identity provider publishes its JSON Web Key Set. */
  readonly jwksUrl: URL;
}

export type JwtVerifierOptions = JwtTrust & {
  readonly clock: Clock;
  /** How long to wait for the key set. Default 3,000. */
  readonly jwksTimeoutMs?: number;
};

// One list per kind of key, so that a public key never serves as an HMAC secret and `none` never as a signature.
const SECRET_ALGORITHMS = ["HS256"];
const PUBLISHED_ALGORITHMS = [
  ...["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
  ...["ES256", "ES384", "ES512", "EdDSA", "Ed25519"],
];

// For `nbf` only: a token fresh from a provider whose clock is a little ahead of ours opens nothing that it would
// not open a moment later. `exp` gets no leeway, which would lengthen a credential's life.
const NOT_BEFORE_LEEWAY_SECONDS = 5;

// ECMAScript's last representable time.
const MAX_TIME_SECONDS = 8.64e12;

type VerifySignature = (token: string, rules: JWTVerifyOptions) => Promise<JWTVerifyResult>;

/**
 * Verifies signed JWTs. `exp` and `sub` are required. A `typ` that is neither `JWT` nor `at+jwt`, a part that is not
 * canonical base64url and a name that is there twice are refused. Tokens of a provider that rotates its keys must carry
 * a `kid`.
 */
export function createJwtVerifier(options: JwtVerifierOptions): JwtVerifier {
  const verifySignature =
    "secret" in options
      ? withSecret(options.secret)
      : withPublishedKeys(
          createPublishedKeys({
            url: options.jwksUrl,
            clock: options.clock,
            timeoutMs: options.jwksTimeoutMs ?? 3_000,
          }),
        );

  return {
    async verify(token) {
      if (!isCanonicalJws(token)) throw malformed();
      const { payload, protectedHeader } = await verifySignature(token, {
        issuer: options.issuer,
        audience: options.audience,
        clockTolerance: NOT_BEFORE_LEEWAY_SECONDS,
        currentDate: options.clock(),
      }).catch((error: unknown) => {
        throw refusal(error);
      });
      if (!isAcceptedType(protectedHeader.typ)) throw invalidToken("its type is not accepted");
      if (hasDuplicateMember(token)) throw malformed();
      const claims = readClaims(payload, options);
      // By what time it is now: the keys may have been fetched meanwhile.
      if (claims.expires <= options.clock()) throw expired();
      return claims;
    },
  };
}

function withSecret(secret: string): VerifySignature {
  const key = createSecretKey(secret, "utf8");
  return (token, rules) => jwtVerify(token, key, { ...rules, algorithms: SECRET_ALGORITHMS });
}

function withPublishedKeys(findKey: JWTVerifyGetKey): VerifySignature {
  return async (token, rules) => {
    const options = { ...rules, algorithms: PUBLISHED_ALGORITHMS };
    try {
      return await jwtVerify(token, findKey, options);
    } catch (error) {
      // A token without `kid` while the set has several keys of its type: any of them may have signed it.
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
      for await (const key of error) {
        try {
          return await jwtVerify(token, key, options);
        } catch (failure) {
          if (!(failure instanceof errors.JWSSignatureVerificationFailed)) throw failure;
        }
      }
      throw new errors.JWSSignatureVerificationFailed();
    }
  };
}

function readClaims(payload: JWTPayload, rules: JwtRules): JwtClaims {
  const { sub, exp } = payload;
  if (typeof sub !== "string" || sub === "") throw claimRefused("sub");
  if (exp === undefined || exp > MAX_TIME_SECONDS) throw claimRefused("exp");
  const account = readClaim(payload, rules.accountClaim);
  if (account !== undefined && (typeof account !== "string" || account === "")) throw claimRefused("account");
  const roles = readClaim(payload, rules.rolesClaim) ?? [];
  const roleList = typeof roles === "string" ? roles.split(" ").filter((role) => role !== "") : roles;
  if (!isStringArray(roleList)) throw claimRefused("roles");
  return {
    subject: sub,
    ...(account !== undefined && { account }),
    roles: roleList,
    expires: new Date(exp * 1000),
  };
}

function readClaim(payload: JWTPayload, name: string): unknown {
  if (Object.hasOwn(payload, name)) return payload[name];
  return name.split(".").reduce<unknown>((value, member) => {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, member)) return undefined;
    return Reflect.get(value, member);
  }, payload);
}

function isStringArray(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

/** Jose's errors quote header values and carry the whole claims set: nothing of them goes on. */
function refusal(error: unknown): unknown {
  if (!(error instanceof errors.JOSEError)) return error;
  if (error instanceof errors.JWTExpired) return expired();
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === "nbf" && error.reason === "check_failed") {
      return new DomainError("unauthenticated", "TOKEN_NOT_YET_VALID", "the token is not valid yet");
    }
    return claimRefused(error.claim);
  }
  if (error instanceof errors.JOSEAlgNotAllowed) return invalidToken("its algorithm is not accepted");
  if (error instanceof errors.JWKSNoMatchingKey) return invalidToken("it is signed with an unknown key");
  if (error instanceof errors.JWSSignatureVerificationFailed)
    return invalidToken("its signature does not verify");
  return malformed();
}

const expired = () => new DomainError("unauthenticated", "TOKEN_EXPIRED", "the token has expired");

const claimRefused = (claim: string) =>
  invalidToken(`its ${claim} claim is missing, malformed or not accepted`);

const malformed = () => invalidToken("it is malformed");

const invalidToken = (why: string) =>
  new DomainError("unauthenticated", "TOKEN_INVALID", `the token is invalid: ${why}`);
