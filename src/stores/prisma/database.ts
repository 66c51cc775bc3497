import { PrismaClient } from "../../gen/prisma/client.js";
import type { Driver } from "./driver.js";
import type { EmbeddedOptions } from "./embedded.js";
import { translateErrors } from "./errors.js";
import { applyMigrations, readMigrations } from "./migrations.js";
import type { PostgresOptions } from "./postgres.js";

export interface Database extends AsyncDisposable {
  readonly prisma: PrismaClient;
  /**
   * Brings the schema up to this version and returns the names of the migrations that it applied.
   * @throws MigrationError, or DomainError UNAVAILABLE.
   */
  migrate(): Promise<readonly string[]>;
  /** @throws DomainError UNAVAILABLE. */
  ping(): Promise<void>;
}

export type DatabaseOptions = PostgresOptions | EmbeddedOptions;

/**
 * PostgreSQL by URL or the embedded one in a directory, behind the same client. A PostgreSQL need not be there
 * yet: connections are made when they are used.
 *
 * @throws DirectoryInUseError if another process has the directory.
 */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const driver = await openDriver(options);
  const prisma = new PrismaClient({ adapter: driver.adapter, errorFormat: "minimal" });
  return {
    prisma,
    migrate: async () => {
      const migrations = await readMigrations();
      return translateErrors(() =>
        driver.migrationSession((session) => applyMigrations(session, migrations)),
      );
    },
    ping: async () => {
      await translateErrors(() => prisma.$queryRaw`SELECT 1`);
    },
    [Symbol.asyncDispose]: async () => {
      await prisma.$disconnect();
      await driver[Symbol.asyncDispose]();
    },
  };
}

/** Loads only the driver that is used: the other one is 15 MB of memory. */
async function openDriver(options: DatabaseOptions): Promise<Driver> {
  if (!("url" in options)) return (await import("./embedded.js")).openEmbedded(options);
  return (await import("./postgres.js")).openPostgres(options);
}
