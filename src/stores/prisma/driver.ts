import type { SqlDriverAdapterFactory } from "@prisma/client/runtime/client";
import type { MigrationSession } from "./migrations.js";

/** A statement of which the answer is one JSON text, or null. Kept prepared by its name where that pays. */
export interface JsonQuery {
  readonly name: string;
  readonly text: string;
}

/** A parameter, which the statement casts to its type. */
export type JsonValue = string | readonly string[];

/** What differs between PostgreSQL and the embedded one. */
export interface Driver extends AsyncDisposable {
  readonly adapter: SqlDriverAdapterFactory;
  /**
   * Reads past Prisma's mapping, which costs three times what the database does: for hot reads. Outside of transactions, within the
   * same time as other statements.
   */
  readJson(query: JsonQuery, values: readonly JsonValue[]): Promise<string | null>;
  /** Runs `work` on a connection of its own, without statement timeout. */
  migrationSession<T>(work: (session: MigrationSession) => Promise<T>): Promise<T>;
}
