import type { SqlDriverAdapterFactory } from "@prisma/client/runtime/client";
import type { MigrationSession } from "./migrations.js";

/** A statement of which the answer is one JSON text, or null. Kept prepared by its name where that pays. */
export interface JsonQuery {
  readonly name: string;
  readonly text: string;
}

/** What differs between PostgreSQL and the embedded one. */
export interface Driver extends AsyncDisposable {
  readonly adapter: SqlDriverAdapterFactory;
  /**
   * Reads past Prisma's mapping, which costs three times what the database does: for hot reads. Outside of transactions, within the
   * same time as other statements.
   * @param values The statement's parameters, each of which it casts to its type.
   */
  readJson(query: JsonQuery, values: readonly string[]): Promise<string | null>;
  /** Runs `work` on a connection of its own, without statement timeout. */
  migrationSession<T>(work: (session: MigrationSession) => Promise<T>): Promise<T>;
}
