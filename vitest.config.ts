import "./test/support/guard.ts";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

// Tests start many processes. What Node compiled for one of them the others need not compile again.
process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL("node_modules/.cache/node-compile", import.meta.url));

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/system/**"],
    globalSetup: ["test/support/global-setup.ts"],
    setupFiles: ["test/support/guard.ts"],
    pool: "forks",
    // one more than the cores of a small machine: most of the time a story waits for its moment
    maxWorkers: 3,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    teardownTimeout: 30_000,
  },
});
