import { randomBytes } from "node:crypto";
import type { Environment } from "../../harness/tilegate.mjs";
import { createDataDirectory } from "./data-directory.js";
import { createTestDatabase, postgresUrl } from "./postgres.js";

/** An installation that several processes may use one after the other. */
export interface TestInstallation extends AsyncDisposable {
  /** What configures it: its database and its secrets. */
  readonly env: Environment;
}

/**
 * On PostgreSQL where there is one: a process opens it a second sooner than the embedded database.
 * @param ownDatabaseUrl An empty database. Absent: a new one.
 */
export async function createInstallation(ownDatabaseUrl?: string): Promise<TestInstallation> {
  const secrets = {
    TILE_SIGNING_KEYS: randomBytes(32).toString("hex"),
    ENCRYPTION_KEYS: randomBytes(32).toString("base64"),
    SEED_DEMO: "false",
  };
  if (ownDatabaseUrl === undefined && postgresUrl() === undefined) {
    const directory = await createDataDirectory();
    return {
      env: { DATA_DIR: directory.path, ...secrets },
      [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
    };
  }
  const database = ownDatabaseUrl === undefined ? await createTestDatabase() : undefined;
  const DATABASE_URL = ownDatabaseUrl ?? database?.url ?? "";
  return {
    env: { DATABASE_URL, SHUTDOWN_DELAY_SECONDS: "0", HOST: "127.0.0.1", ...secrets },
    [Symbol.asyncDispose]: async () => database?.[Symbol.asyncDispose](),
  };
}
