import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { CarillonError } from "../errors.ts";
import { csvReader } from "../import/csv.ts";
import { geonamesReader } from "../import/geonames.ts";
import { inspectBytes } from "../import/inspect-bytes.ts";
import type { Kind } from "../import/kind.ts";
import { ndjsonReader } from "../import/ndjson.ts";
import type { Reader } from "../import/record.ts";
import type { ImportSource } from "../import/run-import.ts";
import type { Lifecycle } from "../lifecycle.ts";
import { codeOf } from "../store/database.ts";
import type { ImportFormat } from "../store/imports.ts";
import { placesOfTheWorld } from "./places-of-the-world.ts";

export interface InspectedSource extends ImportSource {
  /** how many there are altogether */
  readonly lines: number;
}

/** What the ending of a file's name says; null where it says nothing. */
export function formatOf(file: string): ImportFormat | null {
  if (/\.csv$/i.test(file)) return "csv";
  if (/\.(?:ndjson|jsonl)$/i.test(file)) return "ndjson";
  return null;
}

/**
 * A file, read through once: what is wrong with it as a whole shows before anything is stored. Standard input ("-") is
 * kept in a file until the end, because it has to be read again.
 *
 * @throws wrong_encoding; invalid_request where it can't be read
 */
export async function openSource(
  file: string,
  format: ImportFormat,
  kind: Kind,
  lifecycle: Lifecycle,
): Promise<InspectedSource> {
  const path = file === "-" ? await keptInput(lifecycle) : file;
  const open = () => createReadStream(path);
  const name = file === "-" ? "standard input" : basename(file);
  return { name, format, reader: readerOf(format, kind), open, ...(await inspected(open, file)) };
}

/** The cities of the package city-timezones, as if they came in a file. */
export async function citiesSource(): Promise<InspectedSource> {
  const text = placesOfTheWorld().map((place) => `${JSON.stringify(place)}\n`);
  async function* open(): AsyncGenerator<Uint8Array> {
    yield Buffer.from(text.join(""));
  }
  const format = "city-timezones";
  return { name: format, format, reader: ndjsonReader, open, ...(await inspectBytes(open())) };
}

function readerOf(format: ImportFormat, { name, columns }: Kind): Reader {
  if (format === "geonames") return geonamesReader;
  if (format !== "csv") return ndjsonReader;
  if (columns !== null) return csvReader(columns);
  throw new CarillonError("invalid_request", `There is no CSV of ${name}: write one JSON object a line.`);
}

async function inspected(open: () => AsyncIterable<Uint8Array>, file: string): ReturnType<typeof inspectBytes> {
  try {
    return await inspectBytes(open());
  } catch (error) {
    const code = codeOf(error);
    if (error instanceof CarillonError || code === undefined) throw error;
    throw new CarillonError("invalid_request", `${file} can't be read: ${code}.`, { cause: error });
  }
}

async function keptInput(lifecycle: Lifecycle): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "carillon-import-"));
  lifecycle.onStop("copy of standard input", () => rm(directory, { recursive: true, force: true }));
  const path = join(directory, "input");
  const written = createWriteStream(path, { mode: 0o600 });
  await pipeline(process.stdin, written, { signal: lifecycle.stopping }).catch((error: unknown) => {
    lifecycle.stopping.throwIfAborted();
    throw error;
  });
  return path;
}
