import { findDuplicateMember } from "../json/duplicate-members.js";

/**
 * Whether each part of a signed token is base64url as an encoder writes it: no padding, no bits beyond the last byte.
 * Else one token could be written in many ways, and pass a list of those that were revoked or seen before.
 */
export function isCanonicalJws(token: string): boolean {
  return token.split(".").every((part) => decode(part).toString("base64url") === part);
}

/** Whether the header or the claims have a name twice, of which another reader may take the other member. */
export function hasDuplicateMember(token: string): boolean {
  const [header = "", claims = ""] = token.split(".");
  return [header, claims].some((part) => findDuplicateMember(decode(part).toString()) !== undefined);
}

// RFC 8725, 3.11: tokens that their provider signs to other ends, such as `logout+jwt` and `dpop+jwt`, must not pass for
// these. Most providers send `JWT` or nothing; `at+jwt` is RFC 9068's.
const ACCEPTED_TYPE = /^(?:application\/)?(?:at\+)?jwt$/i;

/** Whether the header's `typ` is that of a token which says who somebody is. */
export function isAcceptedType(typ: unknown): boolean {
  return typ === undefined || (typeof typ === "string" && ACCEPTED_TYPE.test(typ));
}

const decode = (part: string) => Buffer.from(part, "base64url");
