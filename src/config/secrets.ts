import { randomBytes, randomUUID } from "node:crypto";
import { link, mkdir, open, readFile, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { z } from "zod";
import { ConfigError, type Secrets, type SecretsSource } from "./config.js";
import { encryptionKeys, operatorToken, signingKeys } from "./variables.js";

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
  // Keys of the hash's and the cipher's length. Hexadecimal also keeps the operator token from looking like another kind.
  const hex = () => randomBytes(32).toString("hex");
  const base64 = () => randomBytes(32).toString("base64");
  return {
    signingKeys: given.signingKeys ?? (await keep(dataDir, "tile-signing-keys", signingKeys, hex)),
    encryptionKeys: given.encryptionKeys ?? (await keep(dataDir, "encryption-keys", encryptionKeys, base64)),
    operatorToken: given.operatorToken ?? (await keep(dataDir, "operator-token", operatorToken, hex)),
  };
}

async function keep<T>(
  dataDir: string,
  name: string,
  schema: z.ZodType<T>,
  generate: () => string,
): Promise<T> {
  const path = join(dataDir, name);
  const text = await readOrCreate(dataDir, name, generate).catch((error: NodeJS.ErrnoException) => {
    throw new ConfigError([`${path}: can't be read or made (${error.code})`]);
  });
  const parsed = schema.safeParse(text.replace(/\r?\n$/, ""));
  if (parsed.success) return parsed.data;
  throw new ConfigError(parsed.error.issues.map(({ message }) => `${path}: ${message}`));
}

/** The secret that writeSecretFile put there; undefined when there is none. */
export async function readSecretFile(dataDir: string, name: string): Promise<string | undefined> {
  return (await readIfThere(join(dataDir, name)))?.trimEnd();
}

/** Keeps a secret in the data directory, for its owner's eyes. One that is there already stays. */
export async function writeSecretFile(dataDir: string, name: string, secret: string): Promise<void> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await createWhole(dataDir, join(dataDir, name), `${secret}\n`);
}

async function readOrCreate(dataDir: string, name: string, generate: () => string): Promise<string> {
  const path = join(dataDir, name);
  const existing = await readIfThere(path);
  if (existing !== undefined) return existing;
  await writeSecretFile(dataDir, name, generate());
  return readFile(path, "utf8");
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

/**
 * Creates a file that is there with all of `content` or not at all, also after a power cut. If it was made
 * meanwhile, that one stays: a link, unlike a rename, never replaces.
 */
async function createWhole(directory: string, path: string, content: string): Promise<void> {
  const temporary = `${path}.${randomUUID()}`;
  try {
    await writeSynced(temporary, content);
    await link(temporary, path);
  } catch (error) {
    if (!isErrno(error, "EEXIST")) throw error;
  } finally {
    await unlink(temporary).catch(() => undefined);
  }
  // Makes the file's name durable too.
  await using handle = await open(directory);
  await handle.sync();
}

async function writeSynced(path: string, content: string): Promise<void> {
  await using handle = await open(path, "wx", 0o600);
  await handle.writeFile(content);
  await handle.sync();
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
