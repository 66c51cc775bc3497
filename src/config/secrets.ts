import { randomBytes } from "node:crypto";
import { z } from "zod";
import { list, secret } from "./forms.js";
import type { Settings, Values } from "./read.js";
import { keepSecret } from "./secret-files.js";
import type { StorageValues } from "./storage.js";

const unique = (items: readonly unknown[]) => new Set(items).size === items.length;

/**
 * Secrets that sign tile tokens with HMAC; the first signs, all verify. Blanks are refused rather than trimmed: the tile server
 * that shares the secret may not trim, and every signature would differ.
 */
const signingKeys = z
  .string()
  .transform((text) => text.split(","))
  .pipe(
    z
      .array(secret.refine((key) => key === key.trim(), "must not begin or end with a blank"))
      .refine(unique, "must not list a key twice"),
  );

const BASE64_KEY_BYTES = 32;

/** In base64: AES-256 keys, of which the first encrypts and all decrypt; Ed25519 seeds, of which the first signs and all verify. */
const base64Keys = list
  .pipe(
    z
      .array(z.string().refine(isBase64Key, `must be the base64 of exactly ${BASE64_KEY_BYTES} bytes`))
      .refine(unique, "must not list a key twice"),
  )
  .transform((keys): readonly Uint8Array[] => keys.map((key) => Buffer.from(key, "base64")));

/** The operator's bearer token: told from service tokens and API keys by not looking like one. */
const operatorToken = secret
  .regex(/^[\x21-\x7e]*$/, "must consist of visible ASCII characters, since it travels in a header")
  .regex(/^(?!tg[sk]_)/, "must not begin with tgs_ or tgk_");

export const variables = {
  TILE_SIGNING_KEYS: signingKeys.optional(),
  TILE_ED25519_KEYS: base64Keys.optional(),
  ENCRYPTION_KEYS: base64Keys.optional(),
  OPERATOR_TOKEN: operatorToken.optional(),
};

export interface Secrets {
  /** HMAC secrets, not empty. The first signs, if HMAC does; all verify. */
  readonly signingKeys: readonly string[];
  /** Ed25519 seeds, 32 bytes each. The first signs, if Ed25519 does, and is there then; all verify. */
  readonly ed25519Keys?: readonly Uint8Array[] | undefined;
  /** Not empty, 32 bytes each. The first encrypts, all decrypt. */
  readonly encryptionKeys: readonly Uint8Array[];
  /** Absent: nobody is the operator. */
  readonly operatorToken?: string | undefined;
}

/** Where the secrets are: all given, or those that are not in files of the data directory (see ensureSecrets). */
export type SecretsSource =
  | { readonly kind: "given"; readonly given: Secrets }
  | { readonly kind: "data_dir"; readonly dataDir: string; readonly given: Partial<Secrets> };

/** Of the data directory. */
export const SIGNING_KEYS_FILE = "tile-signing-keys";

type SecretValues = Values<typeof variables> & StorageValues;

export const toConfig = (values: SecretValues) => ({ secrets: toSource(values) });

function toSource(values: SecretValues): SecretsSource {
  const {
    TILE_SIGNING_KEYS: signingKeys,
    TILE_ED25519_KEYS: ed25519Keys,
    ENCRYPTION_KEYS: encryptionKeys,
    OPERATOR_TOKEN: operatorToken,
  } = values;
  const given = { signingKeys, ed25519Keys, encryptionKeys, operatorToken };
  // With a DATABASE_URL both rings are there: conflicts() has seen to it.
  return values.DATABASE_URL !== undefined && signingKeys && encryptionKeys
    ? { kind: "given", given: { ...given, signingKeys, encryptionKeys } }
    : { kind: "data_dir", dataDir: values.DATA_DIR, given };
}

type RelatedVariable = keyof typeof variables | "DATABASE_URL" | "TILE_SIGNING_ALGORITHM";

export function conflicts(settings: Settings<RelatedVariable>): string[] {
  const problems = (["TILE_SIGNING_KEYS", "ENCRYPTION_KEYS"] as const)
    .filter((name) => settings.DATABASE_URL && !settings[name])
    .map((name) => `${name}: required with DATABASE_URL`);
  const isMissing = settings.TILE_SIGNING_ALGORITHM?.text === "ed25519" && !settings.TILE_ED25519_KEYS;
  return isMissing
    ? [...problems, "TILE_ED25519_KEYS: required with TILE_SIGNING_ALGORITHM=ed25519"]
    : problems;
}

/**
 * All secrets: the given ones, and for the rest what the data directory holds. A secret that is in neither is
 * generated into the directory, once: in the files `tile-signing-keys`, `encryption-keys` and `operator-token`, which
 * have the forms of the variables TILE_SIGNING_KEYS, ENCRYPTION_KEYS and OPERATOR_TOKEN. Of processes that start
 * together all end up with the same ones.
 * @throws ConfigError when a file can't be read or made, or holds what the variable would not accept.
 */
export async function ensureSecrets(source: SecretsSource): Promise<Secrets> {
  if (source.kind === "given") return source.given;
  const { dataDir, given } = source;
  // Of the hash's and the cipher's length. Hexadecimal also keeps the operator token from looking like another kind.
  const hex = () => randomBytes(32).toString("hex");
  const base64 = () => randomBytes(BASE64_KEY_BYTES).toString("base64");
  return {
    signingKeys: given.signingKeys ?? (await keepSecret(dataDir, SIGNING_KEYS_FILE, signingKeys, hex)),
    ed25519Keys: given.ed25519Keys,
    encryptionKeys:
      given.encryptionKeys ?? (await keepSecret(dataDir, "encryption-keys", base64Keys, base64)),
    operatorToken: given.operatorToken ?? (await keepSecret(dataDir, "operator-token", operatorToken, hex)),
  };
}

function isBase64Key(text: string): boolean {
  const key = Buffer.from(text, "base64");
  // Node skips what isn't base64, so only the way back proves the text.
  return key.length === BASE64_KEY_BYTES && key.toString("base64") === text;
}
