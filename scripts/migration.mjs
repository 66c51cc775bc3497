// `npm run migration -- NAME`: writes the migration that leads from prisma/migrations to schema.prisma.
// Offline: Prisma's schema engine compares the two on an in-memory database.
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { PGlite } from "@electric-sql/pglite";
import { diffMigrationsToSchema } from "./schema-engine.mjs";

const [name = ""] = process.argv.slice(2);
if (!/^[a-z0-9_]{1,100}$/.test(name)) {
  process.stderr.write("usage: npm run migration -- NAME   (lower-case letters, digits, underscores)\n");
  process.exit(2);
}

const pglite = await PGlite.create("memory://");
const { empty, sql } = await diffMigrationsToSchema(pglite);
await pglite.close();
if (empty) {
  process.stdout.write("The migrations already lead to prisma/schema.prisma.\n");
} else {
  const timestamp = new Date().toISOString().replace(/\D/g, "").slice(0, 14);
  const directory = new URL(`../prisma/migrations/${timestamp}_${name}/`, import.meta.url);
  mkdirSync(directory);
  writeFileSync(new URL("migration.sql", directory), sql);
  process.stdout.write(`${fileURLToPath(directory)}migration.sql\n`);
}
