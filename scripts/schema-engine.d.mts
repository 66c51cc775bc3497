import type { PGlite } from "@electric-sql/pglite";

export function diffMigrationsToSchema(pglite: PGlite): Promise<{ empty: boolean; sql: string }>;

export function diagnoseMigrationHistory(pglite: PGlite): Promise<{
  hasMigrationsTable: boolean;
  editedMigrationNames: string[];
  failedMigrationNames: string[];
  history: unknown;
}>;

export function deployMigrations(pglite: PGlite): Promise<{ appliedMigrationNames: string[] }>;
