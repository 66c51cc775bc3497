import { z } from "zod";
import type { JwtTrust } from "../jwt/jwt-verifier.js";
import { secret } from "./forms.js";
import type { Settings, Values } from "./read.js";

export const variables = {
  JWT_SECRET: secret.optional(),
  JWT_JWKS_URL: z
    .string()
    .refine(isFetchable, "must be an http:// or https:// URL without user name and password")
    .transform((url) => new URL(url))
    .optional(),
  JWT_ISSUER: z.string().optional(),
  JWT_AUDIENCE: z.string().optional(),
  JWT_ACCOUNT_CLAIM: z.string().default("account"),
  JWT_ROLES_CLAIM: z.string().default("roles"),
  ADMIN_ROLE: z.string().default("admin"),
};

export const toConfig = (values: Values<typeof variables>) => ({
  /** Absent: JWTs are refused. */
  jwt: toJwtTrust(values),
  /** Users with this role administrate their account. */
  adminRole: values.ADMIN_ROLE,
});

function toJwtTrust(values: Values<typeof variables>): JwtTrust | undefined {
  const { JWT_SECRET: secret, JWT_JWKS_URL: jwksUrl } = values;
  const rules = {
    issuer: values.JWT_ISSUER,
    audience: values.JWT_AUDIENCE,
    accountClaim: values.JWT_ACCOUNT_CLAIM,
    rolesClaim: values.JWT_ROLES_CLAIM,
  };
  if (secret !== undefined) return { ...rules, secret };
  return jwksUrl && { ...rules, jwksUrl };
}

export function conflicts({ JWT_SECRET, JWT_JWKS_URL }: Settings<keyof typeof variables>): string[] {
  if (!JWT_SECRET || !JWT_JWKS_URL) return [];
  return [`${JWT_SECRET.source} and ${JWT_JWKS_URL.source}: only one may be set`];
}

function isFetchable(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password } = new URL(text);
  // fetch refuses URLs with credentials: every token would meet an outage.
  return /^https?:$/.test(protocol) && username === "" && password === "";
}
