import "./test/support/guard.ts";
import { defineConfig } from "vitest/config";

/** What needs root or Debian's packages, and the long modes: `npm run test:system`. One file at a time. */
export default defineConfig({
  test: {
    include: ["test/system/**/*.test.ts"],
    globalSetup: ["test/support/global-setup.ts"],
    setupFiles: ["test/support/guard.ts"],
    pool: "forks",
    maxWorkers: 1,
    passWithNoTests: true,
    testTimeout: 600_000,
    hookTimeout: 120_000,
    teardownTimeout: 60_000,
  },
});
