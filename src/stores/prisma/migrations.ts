import { createHash, randomUUID } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";

/** A step of the schema: one folder of prisma/migrations. */
export interface Migration {
  readonly name: string;
  readonly sql: string;
}

/** One connection to one database. */
export interface MigrationSession {
  /** Runs statements in one implicit transaction: all of them, or none. */
  exec(sql: string): Promise<void>;
  query(sql: string): Promise<readonly Record<string, unknown>[]>;
}

/** The database's migrations and ours don't fit together, or one failed. The message is for the operator. */
export class MigrationError extends Error {
  override readonly name = "MigrationError";
}

// The package's root: two levels up from src/stores as well as from dist/stores.
const MIGRATIONS_DIRECTORY = new URL("../../../prisma/migrations/", import.meta.url);

// The lock and the table are those of `prisma migrate deploy`, so that both may run, even at the same time.
const LOCK = "72707369";
const TABLE = `
CREATE TABLE IF NOT EXISTS _prisma_migrations (
    id                      VARCHAR(36) PRIMARY KEY NOT NULL,
    checksum                VARCHAR(64) NOT NULL,
    finished_at             TIMESTAMPTZ,
    migration_name          VARCHAR(255) NOT NULL,
    logs                    TEXT,
    rolled_back_at          TIMESTAMPTZ,
    started_at              TIMESTAMPTZ NOT NULL DEFAULT now(),
    applied_steps_count     INTEGER NOT NULL DEFAULT 0
)`;

/** The package's migrations, oldest first. */
export async function readMigrations(): Promise<readonly Migration[]> {
  const entries = await readdir(MIGRATIONS_DIRECTORY, { withFileTypes: true });
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  return Promise.all(
    names.sort().map(async (name) => ({
      name,
      sql: await readFile(new URL(`${name}/migration.sql`, MIGRATIONS_DIRECTORY), "utf8"),
    })),
  );
}

/**
 * Brings the database up to `migrations` and returns the names of those that it applied. Of several processes that
 * call this at once, one applies and the others wait for it.
 *
 * @throws MigrationError if the history in the database is not the beginning of `migrations`.
 */
export async function applyMigrations(
  session: MigrationSession,
  migrations: readonly Migration[],
): Promise<readonly string[]> {
  // Released at the end, or by a session that ends before.
  await session.query(`SELECT pg_advisory_lock(${LOCK})`);
  // Not "IF NOT EXISTS", for which a role that may only read and write the tables has no right.
  const [table] = await session.query("SELECT to_regclass('public._prisma_migrations') AS name");
  if (table?.name == null) await session.exec(TABLE);
  const applied = checkHistory(
    await session.query(
      "SELECT migration_name, checksum, finished_at FROM _prisma_migrations WHERE rolled_back_at IS NULL",
    ),
    migrations,
  );
  const pending = migrations.filter((migration) => !applied.has(migration.name));
  for (const migration of pending) await apply(session, migration);
  await session.query(`SELECT pg_advisory_unlock(${LOCK})`);
  return pending.map((migration) => migration.name);
}

function checkHistory(
  rows: readonly Record<string, unknown>[],
  migrations: readonly Migration[],
): ReadonlySet<unknown> {
  const checksums = new Map(migrations.map((migration) => [migration.name, checksum(migration)]));
  for (const { migration_name: name, checksum: stored, finished_at } of rows) {
    if (finished_at === null) {
      throw new MigrationError(
        `migration ${name} was begun and not finished: restore the database, or repair it and record that with \`prisma migrate resolve\``,
      );
    }
    const ours = checksums.get(String(name));
    if (ours === undefined) {
      throw new MigrationError(
        `migration ${name} is in the database, but not in this version: the database is newer, upgrade tilegate`,
      );
    }
    if (ours !== stored) {
      throw new MigrationError(`migration ${name} was edited after it had been applied`);
    }
  }
  return new Set(rows.map((row) => row.migration_name));
}

// The row goes along with the statements: a crash leaves neither. A migration that commits by itself commits the
// row without its finish, and is refused as half-applied next time.
async function apply(session: MigrationSession, migration: Migration): Promise<void> {
  const id = randomUUID();
  const name = migration.name.replaceAll("'", "''");
  const script = `
INSERT INTO _prisma_migrations (id, checksum, migration_name) VALUES ('${id}', '${checksum(migration)}', '${name}');
${migration.sql}
;
UPDATE _prisma_migrations SET finished_at = clock_timestamp(), applied_steps_count = 1 WHERE id = '${id}';`;
  try {
    await session.exec(script);
  } catch (error) {
    throw new MigrationError(
      `migration ${migration.name} failed: ${error instanceof Error ? error.message : error}`,
      {
        cause: error,
      },
    );
  }
}

const checksum = (migration: Migration): string => createHash("sha256").update(migration.sql).digest("hex");
