import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { promisify } from "node:util";
import { PGlite } from "@electric-sql/pglite";
import { PrismaPGlite } from "pglite-prisma-adapter";
import { withCheckedCommit } from "./checked-commit.js";
import { lockDirectory } from "./directory-lock.js";
import type { Driver } from "./driver.js";
import type { MigrationSession } from "./migrations.js";

export interface EmbeddedOptions {
  /** Created if missing. One process at a time. */
  readonly dataDir: string;
}

const DATABASE = "database";
const UNFINISHED = `${DATABASE}.new-`;

// PostgreSQL's cache, which it fills with zeros when it starts: by default 128 MB of resident memory. What it doesn't
// hold the operating system does, as for any file.
const START_PARAMETERS = [...PGlite.defaultStartParams, "-c", "shared_buffers=32MB"];

/**
 * Opens the embedded PostgreSQL in `dataDir`, which is a single connection: statements run one after the other.
 *
 * @throws DirectoryInUseError
 */
export async function openEmbedded({ dataDir }: EmbeddedOptions): Promise<Driver> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const lock = await lockDirectory(dataDir);
  try {
    const directory = await ensureDatabase(dataDir);
    const pglite = await keepingExitCode(() => PGlite.create(directory, { startParams: START_PARAMETERS }));
    // It has the time zone of the machine that created it, and Prisma's adapter takes the digits of a time for UTC.
    await pglite.exec("SET TIME ZONE 'UTC'");
    return {
      adapter: withCheckedCommit(new PrismaPGlite(pglite)),
      readJson: async ({ text }, values) => {
        const { rows } = await pglite.query<[string | null]>(text, [...values], { rowMode: "array" });
        return rows[0]?.[0] ?? null;
      },
      migrationSession: (work) => work(pgliteSession(pglite)),
      [Symbol.asyncDispose]: async () => {
        await keepingExitCode(() => pglite.close());
        await lock[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await lock[Symbol.asyncDispose]();
    throw error;
  }
}

/** PGlite's runtime sets the exit code of the process that it takes itself for, when it starts and when it ends. */
async function keepingExitCode<T>(work: () => Promise<T>): Promise<T> {
  const { exitCode } = process;
  try {
    return await work();
  } finally {
    process.exitCode = exitCode;
  }
}

export function pgliteSession(pglite: PGlite): MigrationSession {
  return {
    exec: async (sql) => {
      await pglite.exec(sql);
    },
    query: async (sql) => (await pglite.query<Record<string, unknown>>(sql)).rows,
  };
}

/** The database's directory, which is either whole or not there: it gets its name when it is finished. */
async function ensureDatabase(dataDir: string): Promise<string> {
  const directory = join(dataDir, DATABASE);
  const names = await readdir(dataDir);
  for (const name of names.filter((name) => name.startsWith(UNFINISHED))) {
    await rm(join(dataDir, name), { recursive: true, force: true });
  }
  if (!names.includes(DATABASE)) {
    const unfinished = await mkdtemp(join(dataDir, UNFINISHED));
    await createInChild(unfinished);
    await rename(unfinished, directory);
  }
  return directory;
}

// Creation takes 850 MB, which a process doesn't give back; opening takes 180. So a child creates.
async function createInChild(directory: string): Promise<void> {
  const script = `
process.umask(0o077);
const { PGlite } = require(process.argv[1]);
PGlite.create(process.argv[2]).then((database) => database.close());`;
  const pglite = createRequire(import.meta.url).resolve("@electric-sql/pglite");
  await promisify(execFile)(process.execPath, ["--input-type=commonjs", "-e", script, pglite, directory]);
}
