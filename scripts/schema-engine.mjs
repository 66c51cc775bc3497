// Prisma's schema engine as WebAssembly: the same engine as the CLI's, but offline. Development only.
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bindMigrationAwareSqlAdapterFactory } from "@prisma/driver-adapter-utils";
import * as bindings from "@prisma/schema-engine-wasm/schema_engine_bg";
import { PrismaPGlite } from "pglite-prisma-adapter";

const prismaDirectory = fileURLToPath(new URL("../prisma", import.meta.url));
const filters = { externalTables: [], externalEnums: [] };
const lockfile = "migration_lock.toml";

// The package's own entry imports the .wasm as a module, which Node 20 can't.
const wasmPath = createRequire(import.meta.url)
  .resolve("@prisma/schema-engine-wasm")
  .replace(/\.js$/, "_bg.wasm");
const { instance } = await WebAssembly.instantiate(readFileSync(wasmPath), {
  "./schema_engine_bg.js": bindings,
});
bindings.__wbg_set_wasm(instance.exports);
instance.exports.__wbindgen_start();

function schema() {
  const path = join(prismaDirectory, "schema.prisma");
  return { files: [{ path, content: readFileSync(path, "utf8") }] };
}

function migrationList() {
  const baseDir = join(prismaDirectory, "migrations");
  return {
    baseDir,
    lockfile: { path: lockfile, content: readFileSync(join(baseDir, lockfile), "utf8") },
    shadowDbInitScript: "",
    migrationDirectories: readdirSync(baseDir, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => ({
        path: name,
        migrationFile: {
          path: "migration.sql",
          content: { tag: "ok", value: readFileSync(join(baseDir, name, "migration.sql"), "utf8") },
        },
      }))
      .sort((a, b) => (a.path < b.path ? -1 : 1)),
  };
}

async function withEngine(factory, work) {
  const adapter = bindMigrationAwareSqlAdapterFactory(factory);
  const schemaEngine = await bindings.SchemaEngine.new({ datamodels: undefined }, () => {}, adapter);
  try {
    return await work(schemaEngine);
  } finally {
    schemaEngine.free();
  }
}

/** The SQL that leads from prisma/migrations, applied to the empty database `pglite`, to schema.prisma. */
export async function diffMigrationsToSchema(pglite) {
  const factory = new PrismaPGlite(pglite);
  // The adapter would create another database in memory, which takes seconds.
  factory.connectToShadowDb = () => factory.connect();
  const { exitCode, stdout } = await withEngine(factory, (schemaEngine) =>
    schemaEngine.diff({
      from: { tag: "migrations", ...migrationList() },
      to: { tag: "schemaDatamodel", ...schema() },
      script: true,
      exitCode: true,
      filters,
    }),
  );
  return { empty: exitCode === 0, sql: stdout };
}

/** What Prisma makes of the history in the database `pglite`, compared with prisma/migrations. */
export function diagnoseMigrationHistory(pglite) {
  return withEngine(new PrismaPGlite(pglite), (schemaEngine) =>
    schemaEngine.diagnoseMigrationHistory({
      migrationsList: migrationList(),
      optInToShadowDatabase: false,
      filters,
    }),
  );
}

/** What `prisma migrate deploy` does. */
export function deployMigrations(pglite) {
  return withEngine(new PrismaPGlite(pglite), (schemaEngine) =>
    schemaEngine.applyMigrations({ migrationsList: migrationList(), filters }),
  );
}
