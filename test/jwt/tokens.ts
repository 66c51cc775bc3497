import { createHmac, type KeyObject } from "node:crypto";
import { base64url, type CryptoKey, type JWTPayload, SignJWT } from "jose";
import type { JwtClaims } from "../../src/domain/authentication/jwt.js";
import { DomainError } from "../../src/domain/errors.js";

export const secret = "a-secret-of-more-than-thirty-two-bytes";
export const now = new Date("2026-11-21T12:00:00Z");
export const nowSeconds = now.getTime() / 1000;
export const valid = { sub: "alice", exp: nowSeconds + 60 };
export const defaults = { accountClaim: "account", rolesClaim: "roles", clock: () => now };

export function sign(
  payload: JWTPayload,
  alg = "HS256",
  key: string | CryptoKey | KeyObject = secret,
  kid?: string,
) {
  return new SignJWT(payload)
    .setProtectedHeader(kid === undefined ? { alg } : { alg, kid })
    .sign(typeof key === "string" ? new TextEncoder().encode(key) : key);
}

/** What an issuer signs, byte by byte, with the secret: HS256. */
export function signParts(header: string, claims: string): string {
  const input = [header, claims].map((part) => Buffer.from(part).toString("base64url")).join(".");
  return `${input}.${createHmac("sha256", secret).update(input).digest("base64url")}`;
}

/** A token that no library would make. */
export const forge = (header: object, payload: object, signature = "") =>
  [...[header, payload].map((part) => base64url.encode(JSON.stringify(part))), signature].join(".");

export async function failureOf(verification: Promise<JwtClaims>): Promise<DomainError> {
  const failure = await verification.then(
    () => "accepted",
    (error: unknown) => error,
  );
  if (!(failure instanceof DomainError)) throw new Error("not refused as it should be", { cause: failure });
  return failure;
}
