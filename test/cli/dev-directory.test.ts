import { chmod, mkdir, mkdtemp, rm, stat, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { devDirectory } from "../../src/cli/dev-directory.ts";

let temporary: string;

beforeEach(async () => {
  temporary = await mkdtemp(join(tmpdir(), "carillon-dev-directory-"));
  await chmod(temporary, 0o755);
});
afterEach(() => rm(temporary, { recursive: true, force: true }));

const isRoot = process.getuid?.() === 0;

describe("devDirectory", () => {
  it("is the one that was wanted", async () => {
    const wanted = join(temporary, "a", "b");
    expect(await devDirectory(wanted, temporary)).toBe(wanted);
    expect((await stat(wanted)).isDirectory()).toBe(true);
  });

  it.runIf(isRoot)("is another one, always the same, where Postgres may not enter that", async () => {
    const home = join(temporary, "home");
    await mkdir(home, { mode: 0o700 });
    const instead = await devDirectory(join(home, "dev"), temporary);
    expect(instead).toMatch(/carillon-dev-[0-9a-f]{12}$/);
    expect(await devDirectory(join(home, "dev"), temporary)).toBe(instead);
    expect(await devDirectory(join(home, "dev2"), temporary)).not.toBe(instead);
  });

  it.runIf(isRoot)("is not one that somebody else has laid out", async () => {
    const home = join(temporary, "home");
    await mkdir(home, { mode: 0o700 });
    const instead = await devDirectory(join(home, "dev"), temporary);
    await rm(instead, { recursive: true });
    await symlink("/etc", instead);
    await expect(devDirectory(join(home, "dev"), temporary)).rejects.toMatchObject({ code: "bad_configuration" });
  });
});
