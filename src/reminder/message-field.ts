import { faulty, readText, type Scope, TemplateFault, type Text, type Uses, unionOf } from "./template.ts";
import type { FilterSettings } from "./template-filters.ts";

/** The parts of a message, each with the most characters that it may have when it is rendered. */
export const renderedMax = { title: 1_000, body: 10_000, data: 10_000, image: 2_048, sound: 100, link: 2_048 } as const;
export type FieldName = keyof typeof renderedMax;
export const fieldNames: readonly FieldName[] = ["title", "body", "data", "image", "sound", "link"];

/** One part of a message in one language. */
export interface Field {
  readonly uses: Uses;
  /** @throws TemplateFault */
  render(scope: Scope, settings: FilterSettings): unknown;
}

/**
 * Reads one part of a message as it is stored. Nothing is thrown here: what can't be read throws when it is rendered.
 *
 * @param value for `data` any JSON, whose strings are templates; for the others text or null
 */
export function readField(name: FieldName, value: unknown): Field {
  switch (name) {
    case "title":
    case "body":
      return fieldOf(textOf(value ?? ""), (text) => within(name, text));
    case "image":
    case "sound":
    case "link":
      return value === null || value === undefined ? nothing : fieldOf(textOf(value), (text) => lineOrNull(name, text));
    case "data":
      return readData(value);
  }
}

const nothing: Field = { uses: unionOf([]), render: () => null };

function fieldOf(text: Text, finish: (rendered: string) => unknown): Field {
  return { uses: text.uses, render: (scope, settings) => finish(text.render(scope, settings)) };
}

function textOf(value: unknown): Text {
  return typeof value === "string" ? readText(value) : faulty(new TemplateFault("This must be text", 1, 1));
}

/** A length is asked before anything else: what was put together of many pieces is only then written out. */
function within(name: FieldName, text: string): string {
  if (text.length <= renderedMax[name]) return text;
  throw new TemplateFault(`When it is rendered, this has more than ${renderedMax[name]} characters`, 1, 1);
}

/** Addresses and names are one line; one that comes out empty is none. */
function lineOrNull(name: FieldName, rendered: string): string | null {
  const line = within(name, rendered).trim();
  if (/\p{Cc}/u.test(line)) throw new TemplateFault("When it is rendered, this must be one line", 1, 1);
  return line === "" ? null : line;
}

/** JSON without a template in it is handed on as the same object, again and again. */
function readData(value: unknown): Field {
  if (typeof value === "string") {
    return /\{[{%]/.test(value)
      ? fieldOf(readText(value), (text) => within("data", text))
      : { uses: unionOf([]), render: () => value };
  }
  if (typeof value !== "object" || value === null) return { uses: unionOf([]), render: () => value ?? null };
  const members = Object.entries(value).map(([key, member]) => [key, readData(member)] as const);
  const uses = unionOf(members.map(([, member]) => member.uses));
  if (!holdsTemplate(value)) return { uses, render: () => value };
  return {
    uses,
    render(scope, settings) {
      const rendered = members.map(([key, member]) => [key, member.render(scope, settings)] as const);
      return Array.isArray(value) ? rendered.map(([, member]) => member) : Object.fromEntries(rendered);
    },
  };
}

function holdsTemplate(value: unknown): boolean {
  if (typeof value === "string") return /\{[{%]/.test(value);
  return typeof value === "object" && value !== null && Object.values(value).some(holdsTemplate);
}
