/** Reading parameters that somebody wrote: what is wrong is said with a pointer to it. */
import { CarillonError } from "../errors.ts";

/** @throws CarillonError invalid_request, when `value` is no object */
export function asRecord(value: unknown, pointer: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid("Must be an object", pointer);
  return { ...value };
}

/** @throws CarillonError invalid_request, when `value` is no list */
export function asList(value: unknown, pointer: string): readonly unknown[] {
  if (!Array.isArray(value)) throw invalid("Must be a list", pointer);
  return value;
}

/**
 * The parameters of a timetable of `kind`, all of them known by name. `kind` itself may be among them.
 *
 * @throws CarillonError invalid_request
 */
export function parametersOf(
  kind: string,
  given: unknown,
  known: readonly string[],
  pointer: string,
): Record<string, unknown> {
  const { kind: said, ...parameters } = asRecord(given ?? {}, pointer);
  if (said !== undefined && said !== kind) throw invalid(`kind must be ${JSON.stringify(kind)}`, `${pointer}/kind`);
  for (const name of Object.keys(parameters)) {
    if (known.includes(name)) continue;
    throw invalid(`A ${kind} timetable has no parameter ${JSON.stringify(name)}`, pointerTo(pointer, name));
  }
  return parameters;
}

/** @throws CarillonError invalid_request, when `value` is none of `known` */
export function oneOf<const T extends string>(known: readonly T[], value: unknown, pointer: string): T {
  const found = known.find((candidate) => candidate === value);
  if (found === undefined) throw invalid(`Must be one of ${known.join(", ")}`, pointer);
  return found;
}

/** RFC 6901 pointer to the member `name` of what `pointer` points to */
export function pointerTo(pointer: string, name: string): string {
  return `${pointer}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
}

export function invalid(detail: string, pointer: string): CarillonError {
  return new CarillonError("invalid_request", detail, { pointer });
}
