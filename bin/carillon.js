#!/usr/bin/env node
// Plain JavaScript without imports above the check, so that an older Node gets as far as being told.
const least = 24;

if (Number(process.versions.node.split(".")[0]) < least) {
  process.stderr.write(
    `carillon needs Node ${least} or newer, and this is ${process.versions.node}: install one, or, in a checkout after ` +
      "`npm ci`, use `npm run carillon --` which brings its own.\n",
  );
  process.exit(1);
}

const { existsSync } = await import("node:fs");
// A checkout runs from its sources. A published package has none: Node does not strip types below node_modules.
const source = new URL("../src/cli/main.ts", import.meta.url);
await import(existsSync(source) ? source.href : new URL("../dist/cli/main.js", import.meta.url).href);
