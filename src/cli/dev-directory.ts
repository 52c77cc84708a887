import { createHash } from "node:crypto";
import { lstat, mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { CarillonError } from "../errors.ts";
import { canServeFrom } from "./embedded-postgres.ts";

/**
 * The directory that `carillon dev` keeps its data in, which is there afterwards: the one that was wanted; or, where we
 * are root and the server's user may not enter that one (a checkout in root's home), one under the system's temporary
 * directory, the same at each start.
 *
 * @param wanted absolute, or relative to where we are
 * @param temporary the system's directory for temporary files
 * @throws CarillonError `bad_configuration` where neither can be used
 */
export async function devDirectory(wanted: string, temporary: string = tmpdir()): Promise<string> {
  const directory = resolve(wanted);
  await mkdir(directory, { recursive: true });
  if (await canServeFrom(directory)) return directory;
  const instead = join(temporary, `carillon-dev-${createHash("sha256").update(directory).digest("hex").slice(0, 12)}`);
  await mkdir(instead, { mode: 0o755 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
  // the name can be guessed, and whoever made the directory could have it lead anywhere
  const made = await lstat(instead);
  if (made.isDirectory() && made.uid === process.getuid?.() && (await canServeFrom(instead))) return instead;
  throw new CarillonError(
    "bad_configuration",
    `Postgres, which does not run as root, may not enter ${directory}, nor is ${instead} ours: name another by --db-dir.`,
  );
}
