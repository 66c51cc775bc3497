import { defineConfig } from "vitest/config";

/** `npm run test:edge`: what needs programs that are no dependencies. `npm test` leaves it out. */
export default defineConfig({
  test: {
    globalSetup: "test/harness/global-setup.ts",
    include: ["test/edge/**/*.test.ts"],
    pool: "forks",
    maxWorkers: 2,
    // A tile server and a proxy start in tests and hooks, on machines that do other things as well.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
