import { createHash } from "node:crypto";
import { PGlite } from "@electric-sql/pglite";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  deployMigrations,
  diagnoseMigrationHistory,
  diffMigrationsToSchema,
} from "../../scripts/schema-engine.mjs";
import { openDatabase } from "../../src/stores/prisma/database.js";
import { pgliteSession } from "../../src/stores/prisma/embedded.js";
import { applyMigrations, MigrationError, readMigrations } from "../../src/stores/prisma/migrations.js";
import { createTestDatabase, postgresUrl } from "../harness/postgres.js";

const COLUMNS_OF_HISTORY = `
  SELECT column_name, data_type, character_maximum_length, is_nullable, column_default
  FROM information_schema.columns WHERE table_name = '_prisma_migrations' ORDER BY ordinal_position`;

let pglite: PGlite;
beforeAll(async () => {
  pglite = await PGlite.create("memory://");
});
afterAll(() => pglite.close());
beforeEach(reset);

describe("in agreement with Prisma", () => {
  test("the migrations lead to prisma/schema.prisma", async () => {
    expect(await diffMigrationsToSchema(pglite)).toEqual({
      empty: true,
      sql: "-- This is an empty migration.\n",
    });
  });

  test("Prisma takes the history that we write for its own, and for complete", async () => {
    await applyMigrations(pgliteSession(pglite), await readMigrations());
    expect(await diagnoseMigrationHistory(pglite)).toMatchObject({
      hasMigrationsTable: true,
      editedMigrationNames: [],
      failedMigrationNames: [],
      history: null,
    });
    expect(await deployMigrations(pglite)).toEqual({ appliedMigrationNames: [] });
  });

  test("we take the history that Prisma writes for ours, in a table of the same columns", async () => {
    const migrations = await readMigrations();
    await applyMigrations(pgliteSession(pglite), migrations);
    const ours = await pglite.query(COLUMNS_OF_HISTORY);
    await reset();
    const deployed = await deployMigrations(pglite);
    expect(deployed.appliedMigrationNames).toEqual(migrations.map((migration) => migration.name));
    expect(await applyMigrations(pgliteSession(pglite), migrations)).toEqual([]);
    expect((await pglite.query(COLUMNS_OF_HISTORY)).rows).toEqual(ours.rows);
  });
});

describe("a history that does not fit", () => {
  const first = { name: "20260101000000_first", sql: "CREATE TABLE a (i int);" };
  const second = {
    name: "20260102000000_second",
    sql: "CREATE TABLE b (i int); -- without a last line break",
  };
  const apply = (...migrations: (typeof first)[]) => applyMigrations(pgliteSession(pglite), migrations);

  test("migrations are applied in order, once", async () => {
    expect(await apply(first)).toEqual([first.name]);
    expect(await apply(first, second)).toEqual([second.name]);
    expect(await apply(first, second)).toEqual([]);
    const { rows } = await pglite.query(
      "SELECT checksum, applied_steps_count, finished_at >= started_at AS ordered FROM _prisma_migrations ORDER BY started_at",
    );
    expect(rows).toEqual(
      [first, second].map(({ sql }) => ({
        checksum: createHash("sha256").update(sql).digest("hex"),
        applied_steps_count: 1,
        ordered: true,
      })),
    );
  });

  test("an edited migration is refused by name", async () => {
    await apply(first);
    const edited = { ...first, sql: `${first.sql} -- edited` };
    await expect(apply(edited, second)).rejects.toThrow(/20260101000000_first was edited/);
    expect(await tables()).toEqual(["a"]);
  });

  test("a half-applied migration is refused by name", async () => {
    await apply(first);
    await pglite.exec("UPDATE _prisma_migrations SET finished_at = NULL");
    await expect(apply(first, second)).rejects.toThrow(/20260101000000_first was begun and not finished/);
    expect(await tables()).toEqual(["a"]);
  });

  test("a migration that was rolled back is applied again", async () => {
    await apply(first);
    await pglite.exec(
      "UPDATE _prisma_migrations SET finished_at = NULL, rolled_back_at = now(); DROP TABLE a",
    );
    expect(await apply(first)).toEqual([first.name]);
  });

  test("a database that a newer version migrated is refused", async () => {
    await apply(first, second);
    await expect(apply(first)).rejects.toThrow(/20260102000000_second is in the database, but not in this/);
  });

  test("a migration that fails leaves nothing behind and names itself", async () => {
    const broken = { ...second, sql: "CREATE TABLE b (i int); INSERT INTO nowhere VALUES (1);" };
    const failure = apply(first, broken);
    await expect(failure).rejects.toBeInstanceOf(MigrationError);
    await expect(failure).rejects.toThrow(/20260102000000_second failed: .*nowhere/);
    expect(await tables()).toEqual(["a"]);
    expect(await apply(first, second)).toEqual([second.name]);
  });

  test("a migration that commits in the middle and fails is refused next time", async () => {
    const broken = { ...second, sql: "CREATE TABLE b (i int); COMMIT; INSERT INTO nowhere VALUES (1);" };
    await expect(apply(first, broken)).rejects.toThrow(/20260102000000_second failed/);
    await expect(apply(first, second)).rejects.toThrow(/20260102000000_second was begun and not finished/);
  });

  async function tables(): Promise<unknown[]> {
    const { rows } = await pglite.query<{ name: string }>(
      "SELECT table_name AS name FROM information_schema.tables WHERE table_name IN ('a', 'b') ORDER BY 1",
    );
    return rows.map((row) => row.name);
  }
});

describe.skipIf(!postgresUrl())("on PostgreSQL", () => {
  test("replicas that start together migrate once", async () => {
    await using server = await createTestDatabase();
    const replicas = await Promise.all(Array.from({ length: 8 }, () => openDatabase({ url: server.url })));
    const applied = await Promise.all(replicas.map((replica) => replica.migrate()));
    for (const replica of replicas) await replica[Symbol.asyncDispose]();
    expect(applied.flat()).toEqual((await readMigrations()).map((migration) => migration.name));
    await using database = await openDatabase({ url: server.url });
    expect(await database.prisma.$queryRaw`SELECT count(*)::int FROM _prisma_migrations`).toEqual([
      { count: applied.flat().length },
    ]);
  });

  test("a replica waits for the one that migrates", async () => {
    await using server = await createTestDatabase();
    await using slow = await openDatabase({ url: server.url });
    await using waiting = await openDatabase({ url: server.url });
    let migrating: Promise<readonly string[]> | undefined;
    await slow.transaction(async (transaction) => {
      await transaction.$executeRaw`SELECT pg_advisory_xact_lock(72707369)`;
      migrating = waiting.migrate();
      // Until it waits in line.
      while (
        (
          await transaction.$queryRaw<unknown[]>`
        SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`
        ).length === 0
      );
      expect(await transaction.$queryRaw`SELECT to_regclass('accounts')::text AS found`).toEqual([
        { found: null },
      ]);
    });
    expect(await migrating).toHaveLength((await readMigrations()).length);
  });
});

async function reset(): Promise<void> {
  await pglite.exec("ROLLBACK; DROP SCHEMA public CASCADE; CREATE SCHEMA public");
}
