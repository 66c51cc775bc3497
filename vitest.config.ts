import { defineConfig } from "vitest/config";
import { LongestFirst } from "./test/harness/longest-first.js";

/** They count what the whole process holds. */
const PROCESS_OF_ITS_OWN = ["test/server/open-handles.test.ts"];

/** `npm run test:edge` has a configuration of its own. */
const EDGE = "test/edge/**";

const common = {
  pool: "forks",
  // Servers start and databases are created in tests and hooks, on machines that do other things as well.
  testTimeout: 120_000,
  hookTimeout: 120_000,
} as const;

export default defineConfig({
  test: {
    globalSetup: "test/harness/global-setup.ts",
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          ...common,
          name: "shared",
          include: ["test/**/*.test.ts"],
          exclude: [...PROCESS_OF_ITS_OWN, EDGE],
          // Loading the service and its dependencies takes longer than most files' tests.
          isolate: false,
        },
      },
      { test: { ...common, name: "isolated", include: PROCESS_OF_ITS_OWN } },
    ],
  },
});
