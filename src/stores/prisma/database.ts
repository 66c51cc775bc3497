import { PrismaClient } from "../../gen/prisma/client.js";
import type { Driver, JsonQuery } from "./driver.js";
import type { EmbeddedOptions } from "./embedded.js";
import { translateErrors } from "./errors.js";
import { applyMigrations, readMigrations } from "./migrations.js";
import type { PostgresOptions } from "./postgres.js";

/**
 * Statements, each by itself or within a transaction. Their failures are in the domain's terms: DuplicateError,
 * ConcurrentChangeError, DomainError UNAVAILABLE. All others pass as they are.
 */
export type Statements = Omit<
  ReturnType<typeof createClient>,
  "$transaction" | "$connect" | "$disconnect" | "$extends" | "$on"
>;

export type ReadJson = (query: JsonQuery, values: readonly string[]) => Promise<unknown>;

/** The same within a transaction, over its connection. */
export const readJsonWithin =
  (client: Statements): ReadJson =>
  async ({ text }, values) => {
    const [row] = await client.$queryRawUnsafe<{ json: string | null }[]>(text, ...values);
    return row?.json == null ? null : JSON.parse(row.json);
  };

export interface TransactionOptions {
  /** How long it may take, in milliseconds. Default: as long as a large import. */
  readonly timeout?: number;
  /** How long it may wait for its beginning, in milliseconds. Default 2,000. */
  readonly maxWait?: number;
}

export interface Database extends AsyncDisposable {
  readonly prisma: Statements;
  /** What Driver.readJson reads, parsed. Fails as statements do. */
  readonly readJson: ReadJson;
  /**
   * All or nothing: what `work` writes is committed when it resolves and undone when it rejects. Fails as statements do.
   */
  transaction<T>(work: (client: Statements) => Promise<T>, options?: TransactionOptions): Promise<T>;
  /**
   * Brings the schema up to this version and returns the names of the migrations that it applied.
   * @throws MigrationError, or DomainError UNAVAILABLE.
   */
  migrate(): Promise<readonly string[]>;
  /** @throws DomainError UNAVAILABLE. */
  ping(): Promise<void>;
}

// An import of 100,000 rows takes about half a minute on a slow machine. Statements have their own timeout.
const TRANSACTION_TIMEOUT_MS = 600_000;

export type DatabaseOptions = PostgresOptions | EmbeddedOptions;

/**
 * PostgreSQL by URL or the embedded one in a directory, behind the same client. A PostgreSQL need not be there
 * yet: connections are made when they are used.
 *
 * @throws DirectoryInUseError if another process has the directory.
 */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const driver = await openDriver(options);
  const prisma = createClient(driver);
  return {
    prisma,
    readJson: async (query, values) => {
      const text = await translateErrors(() => driver.readJson(query, values));
      return text === null ? null : JSON.parse(text);
    },
    transaction: (work, { timeout = TRANSACTION_TIMEOUT_MS, maxWait = 2_000 } = {}) =>
      // Its statements are translated already: this is for its beginning and its end.
      translateErrors(() => prisma.$transaction((client) => work(client), { timeout, maxWait })),
    migrate: async () => {
      const migrations = await readMigrations();
      return translateErrors(() =>
        driver.migrationSession((session) => applyMigrations(session, migrations)),
      );
    },
    ping: async () => {
      await prisma.$queryRaw`SELECT 1`;
    },
    [Symbol.asyncDispose]: async () => {
      await prisma.$disconnect();
      await driver[Symbol.asyncDispose]();
    },
  };
}

/** The one place where failures of statements are translated: whoever writes a statement can't forget it. */
const createClient = ({ adapter }: Driver) =>
  new PrismaClient({ adapter, errorFormat: "minimal" }).$extends({
    query: { $allOperations: ({ args, query }) => translateErrors(() => query(args)) },
  });

/** Loads only the driver that is used: the other one is 15 MB of memory. */
async function openDriver(options: DatabaseOptions): Promise<Driver> {
  if (!("url" in options)) return (await import("./embedded.js")).openEmbedded(options);
  return (await import("./postgres.js")).openPostgres(options);
}
