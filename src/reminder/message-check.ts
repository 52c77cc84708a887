import { CarillonError } from "../errors.ts";
import { canonicalLocale } from "./locale.ts";
import { type FieldName, fieldNames, readField } from "./message-field.ts";
import { type Scope, TemplateFault } from "./template.ts";

/** Any of a topic's texts, as somebody wants to save them. */
export type TextsToSave = Partial<Record<FieldName, unknown>> & {
  readonly locale?: string | undefined;
  readonly variants?: Readonly<Record<string, Partial<Record<FieldName, unknown>>>> | null | undefined;
};

/** Readers and moments that a text must be renderable for; with the most and the least that is known of them. */
const samples: readonly { readonly scope: Scope; readonly zone: string; readonly locale: string | null }[] = [
  {
    scope: {
      topic: { name: "launch" },
      user: { id: "user-1", zone: "America/New_York", locale: "en-US" },
      due: "2026-11-24T18:00:00.000Z",
      occurrence: "2026-11-24T18:00:00Z",
      place: { name: "New York" },
    },
    zone: "America/New_York",
    locale: "en-US",
  },
  {
    scope: {
      topic: { name: "a" },
      user: { id: "7", zone: "UTC", locale: "ar" },
      due: "2028-02-29T00:30:00.000Z",
      occurrence: "2028-02-29:fajr",
      place: { name: null },
    },
    zone: "UTC",
    locale: null,
  },
];

/**
 * Whether a topic's texts can be rendered. Each is read and rendered for some made-up readers and moments, so that a
 * mistake is told when it is made and not when a million people wait.
 *
 * @returns bad_template errors, each with its pointer, line and column; none: all is well
 */
export function faultsIn(texts: TextsToSave): readonly CarillonError[] {
  const own = faultsOf(texts, "", canonicalLocale(texts.locale ?? "en") ?? "en");
  const others = Object.entries(texts.variants ?? {}).flatMap(([tag, variant]) =>
    faultsOf(variant, `/variants/${tag}`, canonicalLocale(tag) ?? "en"),
  );
  return [...own, ...others];
}

function faultsOf(texts: Partial<Record<FieldName, unknown>>, pointer: string, language: string): CarillonError[] {
  return fieldNames.flatMap((name) => {
    if (texts[name] === undefined) return [];
    return name === "data"
      ? faultsInData(texts[name], `${pointer}/data`, language)
      : faultOf(name, texts[name], `${pointer}/${name}`, language);
  });
}

/** Each string by itself, so that the pointer leads to it. */
function faultsInData(value: unknown, pointer: string, language: string): CarillonError[] {
  if (typeof value !== "object" || value === null) return faultOf("data", value, pointer, language);
  return Object.entries(value).flatMap(([key, member]) =>
    faultsInData(member, `${pointer}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`, language),
  );
}

function faultOf(name: FieldName, value: unknown, pointer: string, language: string): CarillonError[] {
  const field = readField(name, value);
  try {
    for (const { scope, zone, locale } of samples) field.render(scope, { zone, locale: locale ?? language, language });
    return [];
  } catch (error) {
    if (!(error instanceof TemplateFault)) throw error;
    const { line, column } = error;
    const detail = `Line ${line}, column ${column}: ${error.message}`;
    return [new CarillonError("bad_template", detail, { pointer, position: { line, column }, cause: error })];
  }
}
