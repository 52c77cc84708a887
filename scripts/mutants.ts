/**
 * Are the tests worth anything? Each mutant (scripts/mutants/list.ts) takes one promise out of the source; the tests
 * named with it must turn red. Everything happens in a copy of the tree.
 *
 *   npm run mutants                  all of them
 *   npm run mutants -- window SSRF   those whose names contain one of these words
 *   npm run mutants -- --list
 *
 * Exit 1 when one survives, does not apply any more, or breaks its tests instead of failing them.
 */
import { spawn } from "node:child_process";
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startEmbeddedPostgres } from "../src/cli/embedded-postgres.ts";
import { unreachable } from "../src/errors.ts";
import { type Mutant, mutants } from "./mutants/list.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const copied = ["bin", "db", "docs", "scripts", "src", "test", "package.json", "tsconfig.json", "vitest.config.ts"];
/** A mutant may make a test wait for ever; each test has its own limit, and this is for the runner itself. */
const limitMs = 240_000;

type Verdict =
  | { readonly kind: "killed"; readonly by: string }
  | { readonly kind: "survived" }
  /** no test failed and yet the run did: the mutant says nothing */
  | { readonly kind: "broken"; readonly why: string };

interface Report {
  readonly numTotalTests: number;
  readonly numFailedTests: number;
  readonly success: boolean;
  readonly testResults: readonly {
    readonly name: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly status: string;
      readonly fullName: string;
      readonly failureMessages: readonly string[] | null;
    }[];
  }[];
}

async function main(words: readonly string[]): Promise<number> {
  const chosen = mutants.filter(
    ({ name }) => words.length === 0 || words.some((word) => name.toLowerCase().includes(word.toLowerCase())),
  );
  if (chosen.length === 0) throw new Error("no mutant has such a name");
  const stale = (await Promise.all(chosen.map(staleEdits))).flat();
  if (stale.length > 0) {
    for (const line of stale) console.log(`stale     ${line}`);
    return 1;
  }
  await using server = await startEmbeddedPostgres();
  const directory = await mkdtemp(join(tmpdir(), "carillon-mutants-"));
  try {
    await Promise.all(copied.map((name) => cp(join(root, name), join(directory, name), { recursive: true })));
    await symlink(join(root, "node_modules"), join(directory, "node_modules"));
    const run = (tests: readonly string[]) => runTests(directory, server.url(), tests, interrupted.signal);

    const sound = await run([...new Set(chosen.flatMap(({ tests }) => tests))]);
    if (sound.kind !== "survived") {
      console.log(`The tests are red without any mutant: ${sound.kind === "killed" ? sound.by : sound.why}`);
      return 1;
    }
    let bad = 0;
    for (const mutant of chosen) {
      if (interrupted.signal.aborted) return 1;
      const startedAtMs = performance.now();
      const verdict = await tryMutant(directory, mutant, run);
      if (verdict.kind !== "killed") bad += 1;
      const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(0).padStart(3);
      console.log(`${verdict.kind.padEnd(8)} ${seconds} s  ${mutant.name}  ${detailOf(verdict)}`);
    }
    console.log(`${chosen.length} mutants, ${chosen.length - bad} killed, ${bad} not.`);
    return bad === 0 ? 0 : 1;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function staleEdits({ name, edits }: Mutant): Promise<string[]> {
  const stale: string[] = [];
  for (const { file, find } of edits) {
    if (!(await readFile(join(root, file), "utf8")).includes(find)) stale.push(`${name}: not in ${file}: ${find}`);
  }
  return stale;
}

async function tryMutant(
  directory: string,
  { edits, tests }: Mutant,
  run: (tests: readonly string[]) => Promise<Verdict>,
): Promise<Verdict> {
  // the copy's own text is put back: the tree may have moved on since it was copied
  const originals = new Map<string, string>();
  try {
    for (const { file, find, replace } of edits) {
      const path = join(directory, file);
      const text = await readFile(path, "utf8");
      if (!originals.has(path)) originals.set(path, text);
      await writeFile(
        path,
        text.replaceAll(find, () => replace),
      );
    }
    return await run(tests);
  } finally {
    for (const [path, text] of originals) await writeFile(path, text);
  }
}

async function runTests(
  directory: string,
  databaseUrl: string,
  tests: readonly string[],
  signal: AbortSignal,
): Promise<Verdict> {
  const reportPath = join(directory, "report.json");
  await rm(reportPath, { force: true });
  const vitest = join(directory, "node_modules/vitest/vitest.mjs");
  const child = spawn(
    process.execPath,
    [vitest, "run", "--bail=1", "--reporter=json", `--outputFile=${reportPath}`, ...tests],
    {
      cwd: directory,
      env: { ...process.env, TEST_DATABASE_URL: databaseUrl, NO_COLOR: "1" },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (data: Buffer) => {
      said = (said + data.toString()).slice(-2000);
    });
  }
  const end = () => child.kill("SIGKILL");
  const limit = setTimeout(end, limitMs);
  signal.addEventListener("abort", end);
  await new Promise((resolve) => child.once("close", resolve));
  signal.removeEventListener("abort", end);
  clearTimeout(limit);
  if (signal.aborted) return { kind: "broken", why: "interrupted" };
  const report = await readFile(reportPath, "utf8").then(
    (text) => JSON.parse(text) as Report,
    () => null,
  );
  if (report === null) return { kind: "broken", why: `no report: ${said.slice(-500)}` };
  const failed = report.testResults.flatMap(({ assertionResults }) =>
    assertionResults.filter(({ status }) => status === "failed"),
  );
  // a test that was cut short because another one failed says nothing
  const first = failed.find(({ failureMessages }) => (failureMessages ?? []).length > 0) ?? failed[0];
  if (first !== undefined) {
    return { kind: "killed", by: `${first.fullName} | ${first.failureMessages?.[0]?.split("\n")[0] ?? ""}` };
  }
  if (report.success && report.numTotalTests > 0) return { kind: "survived" };
  const why = report.testResults.find(({ message }) => message !== "")?.message ?? said;
  return { kind: "broken", why: why.slice(0, 500) };
}

function detailOf(verdict: Verdict): string {
  switch (verdict.kind) {
    case "killed":
      return `by: ${verdict.by}`;
    case "survived":
      return "";
    case "broken":
      return verdict.why;
    default:
      return unreachable(verdict);
  }
}

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort());
const words = process.argv.slice(2);
if (words.includes("--list")) for (const { name, tests } of mutants) console.log(`${name}  (${tests.join(", ")})`);
else process.exitCode = await main(words);
