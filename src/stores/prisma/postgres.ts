import { PrismaPg } from "@prisma/adapter-pg";
import pg from "pg";
import { within } from "../within.js";
import { withDeadline } from "./deadline.js";
import type { Driver } from "./driver.js";

export interface PostgresOptions {
  /** postgresql://… as libpq and node-postgres read it. Tables are in the schema `public`. */
  readonly url: string;
  /**
   * Connections of this process at most. Default 10: a core keeps few busy, and PostgreSQL allows 100 in all by
   * default, to be shared by every replica.
   */
  readonly poolSize?: number;
  /** How long a call waits for a free connection or a new one. Default 1,000. */
  readonly connectTimeoutMs?: number;
  /**
   * How long a statement of a transaction may take. Default 1,500. A server that doesn't answer at all gets 250 ms
   * more, and its connection is given up: less than the 2 s after which a server that is back should serve again.
   */
  readonly statementTimeoutMs?: number;
  /**
   * How long a call waits for a connection and a statement together, outside of transactions. Default 700, so that with
   * a wait for Redis before (250) it hears of an outage within a second.
   */
  readonly deadlineMs?: number;
}

// What a session needs for Prisma's adapter to be right: it takes the digits of a time for UTC, and qualifies its tables
// with `public`. A role or a database may have other defaults.
const SESSION_OPTIONS = "-c TimeZone=UTC -c search_path=public";

// How long a migration waits for another replica's, and for the locks of running statements.
const MIGRATION_LOCK_TIMEOUT_MS = 60_000;

// A client that vanished in the middle of a transaction must not keep its locks.
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 60_000;

/** Does not connect yet. */
export function openPostgres(options: PostgresOptions): Driver {
  const { poolSize = 10, connectTimeoutMs = 1_000, statementTimeoutMs = 1_500, deadlineMs = 700 } = options;
  const connection: pg.ClientConfig = {
    connectionString: withSessionOptions(options.url),
    fallback_application_name: "tilegate",
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
  };
  const pool = new pg.Pool({
    ...connection,
    max: poolSize,
    statement_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs + 250,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
  });
  // A connection that breaks while idle is replaced when it is needed. Prisma listens only until it disconnects, which
  // is before the pool ends, and an error that nobody listens to would end the process in the middle of its shutdown.
  pool.on("error", () => {});
  // A ROLLBACK that timed out leaves its connection inside the transaction: what the next user of it writes would
  // be acknowledged and never committed.
  pool.on("release", (_error, client) => {
    if (client.getTransactionStatus() !== "I") client.end().catch(() => {});
  });
  return {
    adapter: withDeadline(new PrismaPg(pool), deadlineMs),
    readJson: async (query, values) => {
      const answer = pool.query<[string | null]>({ ...query, values: [...values], rowMode: "array" });
      return (await within(deadlineMs, answer)).rows[0]?.[0] ?? null;
    },
    migrationSession: async (work) => {
      const client = new pg.Client({ ...connection, lock_timeout: MIGRATION_LOCK_TIMEOUT_MS });
      // Also reported by the query that it interrupts.
      client.on("error", () => {});
      await client.connect();
      try {
        return await work({
          exec: async (sql) => {
            await client.query(sql);
          },
          query: async (sql) => (await client.query(sql)).rows,
        });
      } finally {
        await client.end();
      }
    },
    [Symbol.asyncDispose]: () => pool.end(),
  };
}

function withSessionOptions(connectionString: string): string {
  const url = new URL(connectionString);
  const given = url.searchParams.get("options");
  url.searchParams.set("options", given ? `${given} ${SESSION_OPTIONS}` : SESSION_OPTIONS);
  return url.href;
}
