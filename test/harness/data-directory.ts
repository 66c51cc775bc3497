import { existsSync } from "node:fs";
import { cp, mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject } from "vitest";
import { openDatabase } from "../../src/stores/prisma/database.js";

export interface TemporaryDirectory extends AsyncDisposable {
  readonly path: string;
}

/** An empty directory. */
export async function temporaryDirectory(): Promise<TemporaryDirectory> {
  const path = await mkdtemp(join(tmpdir(), "tilegate-test-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** A DATA_DIR with an empty, migrated database. */
export async function createDataDirectory(): Promise<TemporaryDirectory> {
  const template = join(inject("runDirectory"), "database");
  if (!existsSync(template)) await createTemplate(template);
  const directory = await temporaryDirectory();
  await cp(template, join(directory.path, "database"), { recursive: true });
  return directory;
}

// Once for all of a run, to copy: creation takes seconds and 850 MB.
async function createTemplate(template: string): Promise<void> {
  await using directory = await temporaryDirectory();
  const database = await openDatabase({ dataDir: directory.path });
  await database.migrate();
  await database[Symbol.asyncDispose]();
  // Of files that begin together each makes one, and the first one's stays.
  await rename(join(directory.path, "database"), template).catch(() => {});
}
