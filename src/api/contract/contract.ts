import { z } from "zod";
import { CarillonError, type ErrorCode, errorCatalogue, throwAny } from "../../errors.ts";

/** Turns what came in into what a route works with, or throws what is wrong with it, field by field. */
export interface Parser<T> {
  readonly parse: (input: unknown) => T;
}

export const itemsMax = 1000;
const depthMax = 32;

/**
 * Text as Postgres can keep it: no U+0000, and no half of a surrogate pair (which would be stored as something else, and
 * two ids would become one). Lengths count UTF-16 units here and characters there, so what passes here fits there.
 */
export function text(minLength: number, maxLength: number): z.ZodString {
  return z.string().min(minLength).max(maxLength).refine(isStorable, "Must be well-formed text without U+0000");
}

/** A name that is chosen here and stands in addresses: a topic's, a timetable's, a destination's. */
export const slugText = z
  .string()
  .max(100)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._:-]*$/, "Must begin with a letter or digit and go on with these or one of . _ : -");
export const namePath = z.strictObject({ name: text(1, 100) });
/** Ids and addresses of people: one line of text. */
export function lineText(minLength: number, maxLength: number): z.ZodString {
  return text(minLength, maxLength).regex(/^\P{Cc}*$/u, "Must not hold control characters");
}
export const userIdText = lineText(1, 200);
/** BCP 47, by form: "en", "pt-BR", "zh-Hant-TW" */
export const localeText = z
  .string()
  .regex(/^[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,7}$/, "Must be a language tag, like pt-BR");
/** Checked against the zone data by whoever stores it. */
export const zoneText = text(1, 100);
export const latitude = z.number().min(-90).max(90);
export const longitude = z.number().min(-180).max(180);
export const int4Max = 2_147_483_647;

/** A bigint in a path. Eighteen digits fit whatever they are. */
export const bigintText = z.string().regex(/^[1-9]\d{0,17}$/, "Must be a positive whole number");

/** Free JSON that `jsonb` can keep. */
export const freeJson = z.unknown().superRefine((value, context) => {
  const fault = faultInJson(value, depthMax);
  if (fault !== null) context.addIssue({ code: "custom", message: fault });
});

/** `limit` and `cursor` of every list. */
export const page = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  cursor: text(1, 1000).optional(),
});

/** A check with a code of its own from the catalogue. */
export function coded(code: ErrorCode): { readonly code: ErrorCode } {
  return { code };
}

/** @param where "" for the body, whose pointers are RFC 6901; `?` for the query, `:` for the path */
export function parser<S extends z.ZodType>(schema: S, where: "" | "?" | ":" = ""): Parser<z.output<S>> {
  return {
    parse: (input) => {
      const parsed = schema.safeParse(input, { reportInput: false });
      if (parsed.success) return parsed.data;
      throwAny(parsed.error.issues.flatMap((issue) => errorsOf(issue, where)));
      throw new CarillonError("invalid_request", "The request is not well formed.");
    },
  };
}

/**
 * A body that is one item or `{[name]: [1 to 1,000 items]}`. Which of the two is decided by the field's presence, so
 * that the mistakes that are told are those of what was meant.
 */
export function oneOrMany<T>(
  item: z.ZodType<T>,
  name: string,
): Parser<{ readonly items: readonly T[]; readonly bulk: boolean }> {
  const one = parser(item);
  const many = bulkOf(item, name);
  return {
    parse: (input) => {
      const bulk = typeof input === "object" && input !== null && Object.hasOwn(input, name);
      return { items: bulk ? many.parse(input) : [one.parse(input)], bulk };
    },
  };
}

/** A body that is `{[name]: [1 to 1,000 items]}`. */
export function bulkOf<T>(item: z.ZodType<T>, name: string): Parser<readonly T[]> {
  // counted before any item is looked at: a body of ten thousand is refused for what it is
  const counted = parser(
    z.strictObject({
      [name]: z
        .array(z.unknown())
        .min(1)
        .refine((items) => items.length <= itemsMax, {
          message: `At most ${itemsMax} items in one request`,
          params: coded("too_many_items"),
        }),
    }),
  );
  const items = parser(z.object({ [name]: z.array(item) }));
  return {
    parse: (input) => {
      counted.parse(input);
      return items.parse(input)[name] ?? [];
    },
  };
}

/** The pointer of an item of `oneOrMany`. */
export function itemPointer(name: string, bulk: boolean): (index: number) => string {
  return (index) => (bulk ? `/${name}/${index}` : "");
}

function errorsOf(issue: z.core.$ZodIssue, where: string): CarillonError[] {
  const pointer = pointerOf(issue.path, where);
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) =>
      invalid(`There is no field ${JSON.stringify(key)} here`, pointerOf([...issue.path, key], where)),
    );
  }
  if (issue.code === "custom") {
    const code: unknown = issue.params?.code;
    if (isErrorCode(code)) return [new CarillonError(code, issue.message, { pointer })];
  }
  return [invalid(issue.message, pointer)];
}

function pointerOf(path: readonly PropertyKey[], where: string): string {
  if (where !== "") return `${where}${path.map(String).join("/")}`;
  return path.map((token) => `/${String(token).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

function invalid(detail: string, pointer: string): CarillonError {
  return new CarillonError("invalid_request", detail, { pointer });
}

function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === "string" && Object.hasOwn(errorCatalogue, code);
}

function isStorable(value: string): boolean {
  return value.isWellFormed() && !value.includes("\u0000");
}

function faultInJson(value: unknown, depthLeft: number): string | null {
  if (depthLeft === 0) return `Must not be nested deeper than ${depthMax} levels`;
  if (typeof value === "string") return isStorable(value) ? null : "Must be well-formed text without U+0000";
  if (typeof value !== "object" || value === null) return null;
  for (const [key, member] of Object.entries(value)) {
    const fault = isStorable(key) ? faultInJson(member, depthLeft - 1) : "Keys must be well-formed text without U+0000";
    if (fault !== null) return fault;
  }
  return null;
}
