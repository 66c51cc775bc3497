import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: "test/harness/global-setup.ts",
    pool: "forks",
    maxWorkers: 2,
    // Servers start and databases are created in tests and hooks, on machines that do other things as well.
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
