import type { SqlDriverAdapterFactory } from "@prisma/client/runtime/client";
import type { MigrationSession } from "./migrations.js";

/** What differs between PostgreSQL and the embedded one. */
export interface Driver extends AsyncDisposable {
  readonly adapter: SqlDriverAdapterFactory;
  /** Runs `work` on a connection of its own, without statement timeout. */
  migrationSession<T>(work: (session: MigrationSession) => Promise<T>): Promise<T>;
}
