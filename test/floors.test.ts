import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

/** Imports only go down. What stands on one floor, and is not a floor of plain files, does not import each other. */
const floors: readonly (readonly string[])[] = [
  ["timetable", "reminder", "errors.ts", "clock.ts"],
  ["config.ts", "logger.ts", "metrics.ts", "lifecycle.ts"],
  ["store", "channels"],
  ["planner", "worker"],
  ["api", "dashboard", "client", "fakes"],
  // files come in through import/, held to the same contract as HTTP; the composition root knows nothing of it
  ["app.ts", "index.ts", "import"],
  // the program's entry: it starts whatever the composition root puts together
  ["cli"],
];
/** On the lowest two floors neighbours may use each other: nothing there reaches outside, or does more than the process. */
const neighboursMeetUpTo = 1;

const source = fileURLToPath(new URL("../src/", import.meta.url));

interface Import {
  readonly file: string;
  readonly from: string;
  readonly target: string;
}

const files = readdirSync(source, { recursive: true, encoding: "utf8" }).filter((file) => /\.tsx?$/.test(file));
const imports: readonly Import[] = files.flatMap((file) => importsOf(file, readFileSync(join(source, file), "utf8")));

function importsOf(file: string, text: string): Import[] {
  const statements =
    /^\s*(?:import|export)\b[^"';]*?\bfrom\s*["']([^"']+)["']|^\s*import\s*["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']/gm;
  return [...text.matchAll(statements)].map((match) => {
    const target = match[1] ?? match[2] ?? match[3] ?? "";
    const inside = target.startsWith(".") ? relative(source, join(source, dirname(file), target)) : "";
    return { file, from: partOf(file), target: inside === "" ? target : `src/${inside}` };
  });
}

/** The folder below src/, or the file that stands there by itself. */
function partOf(file: string): string {
  return file.split(/[\\/]/)[0] ?? file;
}

function floorOf(part: string): number {
  return floors.findIndex((parts) => parts.includes(part));
}

/** @returns why this import is not allowed, or undefined */
function fault({ file, from, target }: Import): string | undefined {
  if (!target.startsWith("src/")) return undefined;
  const to = partOf(target.slice("src/".length));
  if (to === from) return undefined;
  if (to === "..") return `${file} reaches out of src: ${target}`;
  const [above, below] = [floorOf(from), floorOf(to)];
  if (below > above) return `${file} looks up to ${target}`;
  if (below === above && above > neighboursMeetUpTo) return `${file} imports its neighbour ${target}`;
  return undefined;
}

describe("the floors", () => {
  it("have a place for everything in src", () => {
    const homeless = [...new Set(files.map(partOf))].filter((part) => floorOf(part) === -1);
    expect(homeless).toEqual([]);
  });

  it("see imports at all", () => {
    expect(
      importsOf("worker/x.ts", 'import type {\n  A,\n} from "../store/a.ts";\nawait import("../app.ts");'),
    ).toEqual([
      { file: "worker/x.ts", from: "worker", target: "src/store/a.ts" },
      { file: "worker/x.ts", from: "worker", target: "src/app.ts" },
    ]);
    expect(fault({ file: "store/x.ts", from: "store", target: "src/worker/a.ts" })).toMatch(/looks up/);
    expect(fault({ file: "store/x.ts", from: "store", target: "src/channels/a.ts" })).toMatch(/neighbour/);
    expect(fault({ file: "store/x.ts", from: "store", target: "src/logger.ts" })).toBeUndefined();
    expect(imports.length).toBeGreaterThan(20);
  });

  it("are only ever looked down from", () => {
    expect(imports.map(fault).filter((found) => found !== undefined)).toEqual([]);
  });

  it("leave Postgres to the store", () => {
    const outside = imports.filter(({ from, target }) => /^(pg|kysely)(\/|-|$)/.test(target) && from !== "store");
    expect(outside.map(({ file, target }) => `${file} imports ${target}`)).toEqual([]);
  });

  it("keep the ground floor pure: time, chance and environment are arguments", () => {
    const impure =
      /\bDate\.now\(|\bnew Date\(\)|\bMath\.random\(|\bprocess\.env\b|\bperformance\.now\(|\bDateTime\.(now|local|utc)\(\)/;
    const found = files
      .filter((file) => ["timetable", "reminder"].includes(partOf(file)))
      .filter((file) => impure.test(withoutComments(readFileSync(join(source, file), "utf8"))));
    expect(found).toEqual([]);
  });

  it("read the environment in one place", () => {
    const reading = files.filter((file) =>
      /\bprocess\.env\./.test(withoutComments(readFileSync(join(source, file), "utf8"))),
    );
    expect(reading.filter((file) => file !== "config.ts")).toEqual([]);
  });
});

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\/|(^|\s)\/\/.*$/gm, "");
}
