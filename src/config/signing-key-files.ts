import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { z } from "zod";
import type { SigningKeys } from "../domain/tile-tokens/key-ring.js";
import { errorCode, problemOf, withoutLineEnd } from "./read.js";
import { type Secrets, type SecretsSource, SIGNING_KEYS_FILE, variables } from "./secrets.js";

/** What the files of a ring's keys hold at the moment. */
export interface SigningKeyFilesContent {
  /** The same as long as the files hold the same. A secret, like what they hold. */
  readonly fingerprint: string;
  /** All keys, those too that are in no file. Undefined: there are problems. */
  readonly keys: SigningKeys | undefined;
  /** Why not, quoting no value. */
  readonly problems: readonly string[];
}

/** Reads them again. Never rejects. */
export type ReadSigningKeyFiles = () => Promise<SigningKeyFilesContent>;

interface KeyFile<Keys> {
  /** What it is called in problems: not by its path, which may be the secret itself, by mistake. */
  readonly source: string;
  readonly path: string;
  readonly form: z.ZodType<Keys | undefined>;
}

type FileContent<Keys> =
  | { readonly text: string; readonly keys: Keys; readonly problems: readonly [] }
  | { readonly text: string; readonly keys: undefined; readonly problems: readonly string[] };

/** Some hundred keys. */
const MAX_FILE_BYTES = 64 * 1024;

/**
 * Finds the files that may change while the service runs: those that TILE_SIGNING_KEYS_FILE and TILE_ED25519_KEYS_FILE name, and the
 * data directory's, where the signing keys were generated. Regular files only: a pipe's content comes once.
 * @param loaded What they and the environment held when the service started.
 * @returns Undefined where there is none.
 */
export async function findSigningKeyFiles(
  env: NodeJS.ProcessEnv,
  secrets: SecretsSource,
  loaded: Secrets,
): Promise<ReadSigningKeyFiles | undefined> {
  const generated = secrets.kind === "data_dir" && secrets.given.signingKeys === undefined;
  const ownPath = generated ? join(secrets.dataDir, SIGNING_KEYS_FILE) : undefined;
  const [hmac, ed25519] = await Promise.all([
    findFile("TILE_SIGNING_KEYS", variables.TILE_SIGNING_KEYS, env, ownPath),
    findFile("TILE_ED25519_KEYS", variables.TILE_ED25519_KEYS, env),
  ]);
  if (hmac === undefined && ed25519 === undefined) return undefined;
  return async () => {
    const contents = [
      await read(hmac, loaded.signingKeys),
      await read(ed25519, loaded.ed25519Keys ?? []),
    ] as const;
    const problems = contents.flatMap((content) => content.problems);
    const [{ keys: secrets }, { keys: seeds }] = contents;
    return {
      fingerprint: JSON.stringify(contents.map(({ text, problems }) => [text, problems])),
      keys: secrets && seeds && { hmac: secrets, ed25519: seeds },
      problems,
    };
  };
}

async function findFile<Keys>(
  name: string,
  form: KeyFile<Keys>["form"],
  env: NodeJS.ProcessEnv,
  ownPath?: string,
): Promise<KeyFile<Keys> | undefined> {
  const source = `${name}_FILE`;
  const path = env[source] || ownPath;
  if (path === undefined) return undefined;
  const isRegular = await stat(path).then(
    (found) => found.isFile(),
    // It was there a moment ago, and may be again.
    () => true,
  );
  return isRegular ? { source: env[source] ? source : path, path, form } : undefined;
}

/** @param otherwise Where there is no file. */
async function read<Keys>(file: KeyFile<Keys> | undefined, otherwise: Keys): Promise<FileContent<Keys>> {
  if (file === undefined) return { text: "", keys: otherwise, problems: [] };
  const { source, path, form } = file;
  const failed = (problems: readonly string[], text = "") => ({ text, keys: undefined, problems });
  try {
    const found = await stat(path);
    // To open a pipe may take forever.
    if (!found.isFile()) return failed([`${source}: is not a regular file`]);
    if (found.size > MAX_FILE_BYTES) return failed([`${source}: is larger than ${MAX_FILE_BYTES} bytes`]);
    const text = withoutLineEnd(await readFile(path, "utf8"));
    if (text === "") return failed([`${source}: the file is empty`]);
    const { data: keys, error } = form.safeParse(text);
    if (keys !== undefined) return { text, keys, problems: [] };
    return failed(error?.issues.map(({ path, message }) => problemOf(source, path, message)) ?? [], text);
  } catch (error) {
    return failed([`${source}: can't read the file (${errorCode(error)})`]);
  }
}
