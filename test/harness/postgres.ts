import { randomBytes } from "node:crypto";
import pg from "pg";
import { inject } from "vitest";

/** The server that all tests share; undefined where there is none: `describe.skipIf(!postgresUrl())`. */
export const postgresUrl = (): string | undefined => inject("postgresUrl") ?? undefined;

/** A fresh, empty database on the shared server. */
export interface TestDatabase extends AsyncDisposable {
  readonly url: string;
  /** How many statements were executed in it until now, BEGIN and COMMIT counted too, by the server's own statistics. */
  statementCount(): Promise<number>;
}

export async function createTestDatabase(serverUrl = postgresUrl()): Promise<TestDatabase> {
  if (!serverUrl) throw new Error("no PostgreSQL: skip this test with describe.skipIf(!postgresUrl())");
  const name = `tilegate_test_${randomBytes(6).toString("hex")}`;
  const url = new URL(serverUrl);
  url.pathname = name;
  const admin = new pg.Client({ connectionString: serverUrl });
  await admin.connect();
  await admin.query(`CREATE DATABASE ${name}`);
  return {
    url: url.href,
    statementCount: async () => {
      const { rows } = await admin.query<{ count: number }>(
        `SELECT coalesce(sum(s.calls), 0)::int AS count
         FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = $1`,
        [name],
      );
      return rows[0]?.count ?? 0;
    },
    [Symbol.asyncDispose]: async () => {
      await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
      await admin.end();
    },
  };
}

/** What a server has to be started with for TestDatabase.statementCount. */
export const STATISTICS = {
  shared_preload_libraries: "pg_stat_statements",
  // Entries of dropped databases stay; a full table would forget counts.
  "pg_stat_statements.max": "50000",
};

/** The server's statistics, which TestDatabase.statementCount reads. */
export async function enableStatistics(serverUrl: string): Promise<void> {
  const admin = new pg.Client({ connectionString: serverUrl });
  await admin.connect();
  await admin.query("CREATE EXTENSION IF NOT EXISTS pg_stat_statements");
  await admin.end();
}
