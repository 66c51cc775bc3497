import { randomUUID } from "node:crypto";
import { link, mkdir, open, readFile, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { z } from "zod";
import { ConfigError, withoutLineEnd } from "./read.js";

/**
 * What a secret's file holds; where there is none, what `generate` makes is put there first.
 * @throws ConfigError when it can't be read or made, or holds what `form` doesn't accept.
 */
export async function keepSecret<T>(
  dataDir: string,
  name: string,
  form: z.ZodType<T>,
  generate: () => string,
): Promise<T> {
  const path = join(dataDir, name);
  const text = await readOrCreate(dataDir, name, generate).catch((error: NodeJS.ErrnoException) => {
    throw new ConfigError([`${path}: can't be read or made (${error.code})`]);
  });
  const parsed = form.safeParse(withoutLineEnd(text));
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
