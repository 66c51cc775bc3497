import { createPrivateKey, X509Certificate } from "node:crypto";
import { z } from "zod";
import { parseRedisUrl } from "../stores/redis/url.js";

// No message below may quote the value: any of them may be a secret, be it one put into the wrong variable.

const SECRET_MIN_BYTES = 16;
const ENCRYPTION_KEY_BYTES = 32;

const longEnough = (bytes: number) => (text: string) => Buffer.byteLength(text, "utf8") >= bytes;
const unique = (items: readonly unknown[]) => new Set(items).size === items.length;

/** Items with commas between them; blanks around an item don't count. */
const list = z.string().transform((text) => text.split(",").map((item) => item.trim()));

/**
 * Secrets that sign tile tokens; the first signs, all verify. Blanks are refused rather than trimmed: the tile server
 * that shares the secret may not trim, and every signature would differ.
 */
export const signingKeys = z
  .string()
  .transform((text) => text.split(","))
  .pipe(
    z
      .array(
        z
          .string()
          .refine(longEnough(SECRET_MIN_BYTES), `must have at least ${SECRET_MIN_BYTES} bytes`)
          .refine((key) => key === key.trim(), "must not begin or end with a blank"),
      )
      .refine(unique, "must not list a key twice"),
  );

/** AES-256 keys in base64; the first encrypts, all decrypt. */
export const encryptionKeys = list
  .pipe(
    z
      .array(z.string().refine(isBase64Key, `must be the base64 of exactly ${ENCRYPTION_KEY_BYTES} bytes`))
      .refine(unique, "must not list a key twice"),
  )
  .transform((keys): readonly Uint8Array[] => keys.map((key) => Buffer.from(key, "base64")));

/** The operator's bearer token: told from service tokens and API keys by not looking like one. */
export const operatorToken = z
  .string()
  .refine(longEnough(SECRET_MIN_BYTES), `must have at least ${SECRET_MIN_BYTES} bytes`)
  .regex(/^[\x21-\x7e]*$/, "must consist of visible ASCII characters, since it travels in a header")
  .regex(/^(?!tg[sk]_)/, "must not begin with tgs_ or tgk_");

/** The environment's variables, by name. Every one is a string there, never an empty one. */
export const variables = z
  .object({
    HOST: z.string().optional(),
    PORT: wholeNumber(0, 65_535).default(8080),
    TLS_CERT: z
      .string()
      .refine(
        parses((pem) => new X509Certificate(pem)),
        "must be a certificate in PEM form",
      )
      .optional(),
    TLS_KEY: z
      .string()
      .refine(parses(createPrivateKey), "must be a private key in PEM form, not encrypted")
      .optional(),
    CORS_ORIGINS: z
      .union([z.literal("*"), list.pipe(z.array(webOrigin()))], {
        error: "must be * or origins such as https://maps.example.com with commas between them",
      })
      .default("*"),
    DATABASE_URL: z
      .string()
      .refine(
        (url) => /^postgres(ql)?:\/\//.test(url) && URL.canParse(url),
        "must be a postgres:// or postgresql:// URL, special characters in the password percent-encoded",
      )
      .optional(),
    REDIS_URL: z
      .string()
      .refine(
        (url) => parseRedisUrl(url) !== undefined,
        "must be a redis://, rediss://, redis+sentinel:// or redis+cluster:// URL, special characters in the password percent-encoded",
      )
      .optional(),
    DATA_DIR: z.string().default("./data"),
    SEED_DEMO: z
      .enum(["true", "false"], { error: "must be true or false" })
      .transform((text) => text === "true")
      .optional(),
    TILE_SIGNING_KEYS: signingKeys.optional(),
    ENCRYPTION_KEYS: encryptionKeys.optional(),
    OPERATOR_TOKEN: operatorToken.optional(),
    TENANCY: z.enum(["single", "multi"], { error: "must be single or multi" }).default("single"),
    DATASET_CACHE_TTL_SECONDS: wholeNumber(1, 3_600).default(60),
    // At most a day, since a token that is out lives until it expires.
    TILE_TOKEN_TTL_SECONDS: wholeNumber(1, 86_400).default(900),
    TILE_TOKEN_MIN_VALIDITY_SECONDS: wholeNumber(1, 86_400).optional(),
    JWT_SECRET: z
      .string()
      .refine(longEnough(SECRET_MIN_BYTES), `must have at least ${SECRET_MIN_BYTES} bytes`)
      .optional(),
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
    // A connection that only stands there takes 20 kB of a process, a call that waits as much again.
    MAX_CONNECTIONS: wholeNumber(16, 100_000).default(4_096),
    MAX_CALLS: wholeNumber(8, 100_000).default(1_000),
    // A process for each core; PostgreSQL's 100 connections, 10 for each process, are used up long before 64.
    WORKERS: wholeNumber(1, 64).default(1),
    SHUTDOWN_DELAY_SECONDS: wholeNumber(0, 300).optional(),
    LOG_LEVEL: z
      .enum(["fatal", "error", "warn", "info", "debug", "trace", "silent"], {
        error: "must be one of fatal, error, warn, info, debug, trace and silent",
      })
      .default("info"),
  })
  .refine(
    ({ TILE_TOKEN_MIN_VALIDITY_SECONDS: minimum, TILE_TOKEN_TTL_SECONDS: ttl }) =>
      // A malformed one is still text here: zod would leave this check out, and a second problem unsaid.
      typeof minimum !== "number" || typeof ttl !== "number" || minimum <= ttl,
    {
      path: ["TILE_TOKEN_MIN_VALIDITY_SECONDS"],
      message: "must not exceed TILE_TOKEN_TTL_SECONDS",
      when: () => true,
    },
  );

function wholeNumber(min: number, max: number) {
  return z
    .string()
    .refine(
      (text) => /^\d{1,9}$/.test(text) && Number(text) >= min && Number(text) <= max,
      `must be a whole number from ${min} to ${max}`,
    )
    .transform(Number);
}

function isBase64Key(text: string): boolean {
  const key = Buffer.from(text, "base64");
  // Node skips what isn't base64, so only the way back proves the text.
  return key.length === ENCRYPTION_KEY_BYTES && key.toString("base64") === text;
}

function isFetchable(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password } = new URL(text);
  // fetch refuses URLs with credentials: every token would meet an outage.
  return /^https?:$/.test(protocol) && username === "" && password === "";
}

function webOrigin() {
  return z
    .string()
    .refine((text) => {
      if (!URL.canParse(text)) return false;
      const { protocol, href, origin } = new URL(text);
      return /^https?:$/.test(protocol) && href === `${origin}/`;
    })
    .transform((text) => new URL(text).origin);
}

function parses(parse: (text: string) => unknown): (text: string) => boolean {
  return (text) => {
    try {
      parse(text);
      return true;
    } catch {
      return false;
    }
  };
}
