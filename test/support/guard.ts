/** Says what is wrong in one sentence, where an older Node would fail somewhere inside a package. */
const least = 24;
const major = Number(process.versions.node.split(".")[0]);

if (major < least) {
  throw new Error(
    `Carillon's tests need Node ${least} or newer and this is ${process.versions.node}: ` +
      "run them with `npm test` or `npx vitest`, which use the Node that `npm ci` installed.",
  );
}
